"""How a bundle is refused."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from everface.engine.errors import IntegrityError
from everface.export.runtime import Runtime

LIMIT = 4 << 20


def refused(path: Path, match: str) -> None:
    """Opening and using a bundle fails, and takes no memory of note on the way."""
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError, match=match):
            Runtime.open(path).generate(1)
        assert tracemalloc.get_traced_memory()[1] < LIMIT
    finally:
        tracemalloc.stop()
