"""The one hierarchy of errors. Each message names what was wrong, what was expected, what was found, and the remedy."""

from __future__ import annotations

__all__ = [
    "BudgetError",
    "CheckpointError",
    "EverfaceError",
    "ExportError",
    "IntegrityError",
    "KeyMismatchError",
    "MissingBackendError",
    "NothingToDoError",
    "NumericalError",
    "PhotoRejectedError",
    "UsageError",
    "WorkspaceError",
]


class EverfaceError(Exception):
    """Base of all errors that everface raises on purpose.

    Args:
        subject: the argument, file or step that was wrong, as the caller knows it.
        expected: what would have been right.
        found: what was there instead.
        remedy: what to do, as an imperative.

    ``str(error)`` is one line: ``subject: expected ..., found ...; remedy``.
    """

    exit_code = 1

    def __init__(self, subject: str, *, expected: str = "", found: str = "", remedy: str = "") -> None:
        self.subject, self.expected, self.found, self.remedy = subject, expected, found, remedy
        parts = [f"expected {expected}"] if expected else []
        parts += [f"found {found}"] if found else []
        message = subject + (": " + ", ".join(parts) if parts else "") + (f"; {remedy}" if remedy else "")
        super().__init__(" ".join(message.split()))


class UsageError(EverfaceError, ValueError):
    """An argument is outside its contract (the command line exits with 2)."""

    exit_code = 2


class WorkspaceError(EverfaceError):
    """A workspace cannot be created, found, opened, locked or written."""


class IntegrityError(WorkspaceError):
    """Stored bytes are not those that were written: a checksum, hash or structure does not hold."""


class KeyMismatchError(WorkspaceError):
    """An encrypted workspace was opened with no key or a wrong one."""


class BudgetError(WorkspaceError):
    """A byte budget cannot hold what it must."""


class PhotoRejectedError(EverfaceError):
    """A photo cannot be used. ``reason`` is a stable code (see ``everface.engine.photos``)."""

    def __init__(self, subject: str, reason: str, detail: str, remedy: str = "") -> None:
        super().__init__(subject, found=detail, remedy=remedy)
        self.reason, self.detail = reason, detail


class NothingToDoError(EverfaceError):
    """No usable input was left, so nothing was changed."""


class CheckpointError(EverfaceError):
    """A generator's weights cannot be read, or are not those of a known architecture."""


class ExportError(EverfaceError):
    """An export could not be made, or did not agree with the model it came from."""


class NumericalError(EverfaceError):
    """A computation left the finite numbers, or a solver could not certify its answer."""


class MissingBackendError(EverfaceError):
    """An explicitly requested backend (``impl="cuda"``, an optional package) is not available here."""
