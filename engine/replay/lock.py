"""One writer at a time, across processes and machines, and who it is."""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import platform
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from everface.engine.atomic import needing
from everface.engine.errors import WorkspaceError

# What file systems without locks answer; `filelock` itself falls back for ENOSYS.
_NO_LOCKS = {getattr(errno, name, 0) for name in ("ENOLCK", "ENOTSUP", "EOPNOTSUPP")}


class WriterLock:
    """Holds ``<workspace>/lock`` until ``close``, or until the process ends in whatever way.

    ``writer.json`` beside it says who holds it; only the lock decides whether anybody does.

    Raises:
        WorkspaceError: there is another writer, or the folder cannot be written.
    """

    def __init__(self, workspace: Path) -> None:
        self._workspace, self._about, self._pid = workspace, workspace / "writer.json", os.getpid()
        with needing(workspace, "a folder to write in", "make it writable, or open it read-only"):
            self._lock: BaseFileLock | None = self._acquired()
        with contextlib.suppress(OSError):  # a full disk must not keep `forget` from making room
            self._about.write_text(json.dumps({"pid": self._pid, "host": platform.node()}), encoding="utf-8")

    @property
    def held(self) -> bool:
        """Whether this process still keeps others out; a forked one does not."""
        return self._lock is not None and os.getpid() == self._pid

    def close(self) -> None:
        """Lets the next writer in; more than once is harmless."""
        held, lock, self._lock = self.held, self._lock, None
        if lock is not None and held:
            with contextlib.suppress(OSError):
                self._about.unlink()
            lock.release()

    def _acquired(self) -> BaseFileLock:
        with contextlib.suppress(Timeout):
            return _locked(self._workspace / "lock")
        pid, host = _holder(self._about)
        if mine := (pid, host) == (self._pid, platform.node()):
            gc.collect()  # an engine that was deleted, but not yet collected, lets go of its lock
            with contextlib.suppress(Timeout):
                return _locked(self._workspace / "lock")
        if mine:
            found = "another engine of this program, which is not closed"
        elif pid is None or (host == platform.node() and not _runs(pid)):
            found = "another writer"
        else:
            found = f"another writer (pid {pid}{'' if host == platform.node() else f' on {host}'})"
        found, remedy = f"in use by {found}", "wait until it has finished, or open it read-only"
        raise WorkspaceError(str(self._workspace), expected="no other writer", found=found, remedy=remedy)


def _locked(path: Path) -> BaseFileLock:
    # Not bound to a thread: whoever closes the engine may be another one than who opened it.
    lock: BaseFileLock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        lock = SoftFileLock(path.with_name("lock.soft"), timeout=0, thread_local=False)
        lock.acquire()
    return lock


def _holder(about: Path) -> tuple[int | None, str]:
    try:
        holder = json.loads(about.read_text(encoding="utf-8"))
        return int(holder["pid"]), str(holder["host"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, ""


def _runs(pid: int) -> bool:
    """Whether a process of this machine is there; where that cannot be known, it is."""
    try:
        if os.name == "posix":
            os.kill(pid, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)  # another one means: somebody else's
    return True
