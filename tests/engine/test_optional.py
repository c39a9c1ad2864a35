"""What is said where an optional package is absent."""

from __future__ import annotations

import pytest

from everface.engine.errors import MissingBackendError
from everface.engine.optional import optional_packages


def missing(name: str) -> None:
    raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_the_extra_that_brings_the_package_is_named() -> None:
    with (
        pytest.raises(MissingBackendError, match=r"3D: .*package torch.*pip install 'everface\[torch\]'"),
        optional_packages("3D"),
    ):
        missing("torch.nn")


def test_other_absences_are_not_explained_away() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"everface\.nothing"), optional_packages("3D"):
        missing("everface.nothing")
    with optional_packages("3D"):
        pass
