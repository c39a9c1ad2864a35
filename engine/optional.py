"""Packages that only some of everface needs: their absence is an error with the remedy, wherever they are imported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from everface.engine.errors import MissingBackendError

_EXTRAS = {
    "torch": "torch",
    "ray": "cluster",
    "tensorrt": "gpu",
    **dict.fromkeys(("matplotlib", "openvino", "scipy", "sklearn"), "bench"),
}


@contextmanager
def optional_packages(subject: str) -> Iterator[None]:
    """Names the extra that brings a package, where an import inside fails for lack of it.

    Args:
        subject: what needs the package, as the caller knows it.

    Raises:
        MissingBackendError: the package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        remedy = f"pip install 'everface[{_EXTRAS[package]}]'"
        raise MissingBackendError(subject, expected=f"the package {package}", found="none", remedy=remedy) from error
