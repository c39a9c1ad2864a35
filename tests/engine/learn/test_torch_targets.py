"""Targets are checked: another backend's are not taken."""

from __future__ import annotations

import pytest

from everface.engine.errors import UsageError
from everface.engine.learn.torch_targets import TorchTargets


def test_only_its_own_are_taken() -> None:
    with pytest.raises(UsageError, match="PyTorch"):
        TorchTargets.checked([])
