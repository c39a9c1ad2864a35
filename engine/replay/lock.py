"""One writer at a time, across processes."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from everface.engine.errors import WorkspaceError

__all__ = ["WriterLock"]


class WriterLock:
    """Holds ``<workspace>/lock`` until :meth:`release`, or until the process ends in whatever way.

    Raises:
        WorkspaceError: another process is writing, or the folder cannot be written.
    """

    def __init__(self, workspace: Path) -> None:
        path = workspace / "lock"
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise WorkspaceError(
                str(workspace), expected="a folder that can be written", found=error.strerror or str(error),
                remedy="make it writable, or open it read-only",
            ) from error  # fmt: skip
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._handle)
            raise WorkspaceError(
                str(workspace), expected="no other writer", found="another process that is writing to it",
                remedy="wait until it has finished",
            ) from None  # fmt: skip
        self._held = True

    def release(self) -> None:
        """Lets the next writer in; more than once is harmless."""
        if self._held:
            self._held = False
            os.close(self._handle)

    def __enter__(self) -> WriterLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()
