"""Which implementation of an operator runs."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

from everface import _native
from everface.engine.errors import MissingBackendError, UsageError

IMPLEMENTATIONS = ("auto", "reference", "cpu", "cuda")
_log = logging.getLogger(__name__)


def machine_obstacle(impl: str) -> str:
    """What keeps an implementation from running on this machine, whatever its arguments; ``""`` for nothing."""
    if impl != "cuda":
        return ""
    available, why = _native.cuda_status()
    return "" if available else why


def choose(operator: str, impl: str, automatic: str, obstacle: Callable[[str], str] = machine_obstacle) -> str:
    """The implementation to run: the named one, which never falls back to another, or the operator's own choice.

    Args:
        operator: its name, for messages and the log, which tells each automatic choice once.
        impl: one of ``IMPLEMENTATIONS``.
        automatic: what ``"auto"`` means for the arguments at hand.
        obstacle: what keeps ``"cpu"`` or ``"cuda"`` from running with these arguments on this machine, ``""`` for
            nothing.

    Raises:
        UsageError: an unknown name.
        MissingBackendError: the implementation cannot run here.
    """
    if impl not in IMPLEMENTATIONS:
        raise UsageError("impl", expected=" or ".join(IMPLEMENTATIONS), found=repr(impl), remedy="choose one of them")
    if impl == "auto":
        impl = automatic
        _log_once(operator, impl)
    if impl == "reference":
        return impl
    found = obstacle(impl)
    if found:
        place = "a CUDA device" if impl == "cuda" else "arguments that the CPU kernels take"
        remedy = "use impl='auto' or 'reference'"
        raise MissingBackendError(f"{operator} impl={impl!r}", expected=place, found=found, remedy=remedy)
    return impl


@functools.cache
def _log_once(operator: str, choice: str) -> None:
    _log.info("%s: impl=auto takes %s", operator, choice)
