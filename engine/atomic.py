"""Files that appear whole or not at all: written beside, synced, renamed.

All that everface keeps is written through a ``Disk``, so that tests can put one below it that fails, fills up or
loses power.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from everface.engine.errors import WorkspaceError

_ZEROS = 1 << 20
_PATIENCE = 3.0  # seconds that another program may hold a file that is to be replaced
_UNSUPPORTED = {
    getattr(errno, name, 0)
    for name in ("EACCES", "EBADF", "EINVAL", "EISDIR", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EPERM")
}


class Disk:
    """The calls of the operating system that change files."""

    def open(self, path: Path, mode: str) -> BinaryIO:
        """Opens a file for writing: ``"wb"`` an empty one, ``"r+b"`` one that is there."""
        return cast(BinaryIO, open(path, mode))

    def sync(self, file: BinaryIO) -> None:
        """Returns when what was written to an open file is durable."""
        file.flush()
        os.fsync(file.fileno())

    def replace(self, source: Path, target: Path) -> None:
        """Gives a file another's name. On Windows that fails while a program reads the other, so it is tried again."""
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                os.replace(source, target)
                return
            except PermissionError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def link(self, source: Path, target: Path) -> None:
        """Gives a file a second name; raises OSError where the file system has no such thing."""
        os.link(source, target)

    def unlink(self, path: Path) -> None:
        """Removes a name."""
        path.unlink()

    def sync_folder(self, folder: Path) -> None:
        """Makes the names in a folder durable, where the operating system can."""
        try:
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise


DISK = Disk()


def part_of(path: Path) -> Path:
    """Where a file is written before it takes its name."""
    return path.with_name(f".{path.name}.part")


def old_name(path: Path) -> Path:
    """The second name of a file that is being replaced."""
    return path.with_name(f".{path.name}.old")


def write_whole(
    path: Path, content: bytes | Callable[[BinaryIO], None], *, disk: Disk = DISK, keep: bool = False
) -> None:
    """Makes or replaces a file: a crash at any point leaves the old one or the new one.

    Args:
        path: the file.
        content: its bytes, or a function that writes them.
        disk: the operating system.
        keep: the replaced file keeps a second name, ``old_name``, until ``finish_wipe`` has overwritten it.

    Raises:
        OSError: it cannot be written; the old file is still there.
    """
    part, old = part_of(path), old_name(path)
    try:
        with disk.open(part, "wb") as file:
            file.write(content) if isinstance(content, bytes) else content(file)
            disk.sync(file)
        if keep and path.exists():
            try:
                disk.link(path, old)
            except OSError:  # a file system without hard links
                disk.replace(path, old)
        disk.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            finish_wipe(path, disk)
        with contextlib.suppress(OSError):
            disk.unlink(part)
        raise
    disk.sync_folder(path.parent)


def erase(path: Path, disk: Disk = DISK) -> None:
    """Overwrites a file with zeros before it removes its name.

    What a file no longer names may still be on the disk: see docs/store.md for what disks and snapshots keep.
    """
    with disk.open(path, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        for start in range(0, size, _ZEROS):
            file.write(bytes(min(_ZEROS, size - start)))
        disk.sync(file)
    disk.unlink(path)


def finish_wipe(path: Path, disk: Disk = DISK) -> None:
    """Brings to its end what a writer left: a file half written, a replaced one not yet overwritten.

    Raises:
        OSError: it cannot be written.
    """
    old, part = old_name(path), part_of(path)
    if old.exists():
        if not path.exists():  # killed between two renames, where there are no hard links
            disk.replace(old, path)
        elif os.path.samefile(old, path):  # killed before the new file took the name
            disk.unlink(old)
        else:
            # Only once the new name is durable: after a power loss the old file could be the one that has it.
            disk.sync_folder(path.parent)
            erase(old, disk)
    if part.exists():
        erase(part, disk)


@contextlib.contextmanager
def needing(path: Path, expected: str, remedy: str) -> Iterator[None]:
    """An error of the operating system becomes a WorkspaceError: what a path had to be, and the remedy."""
    try:
        yield
    except OSError as error:
        found = error.strerror or str(error)
        raise WorkspaceError(str(path), expected=expected, found=found, remedy=remedy) from error
