"""Files that appear whole or not at all: written beside, synced, renamed.

All that everface keeps is written through a ``Disk``, so that tests can put one below it that fails, fills up or
loses power.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

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
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return
            raise
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        finally:
            os.close(handle)


DISK = Disk()


def part_of(path: Path) -> Path:
    """Where a file is written before it takes its name."""
    return path.with_name(f".{path.name}.part")


def write_whole(
    path: Path, content: bytes | Callable[[BinaryIO], None], *, disk: Disk = DISK, keep: Path | None = None
) -> None:
    """Makes or replaces a file: a crash at any point leaves the old one or the new one.

    Args:
        path: the file.
        content: its bytes, or a function that writes them.
        disk: the operating system.
        keep: a second name for the replaced file, which outlives it.

    Raises:
        OSError: it cannot be written; the old file is still there.
    """
    part, moved = part_of(path), False
    try:
        with disk.open(part, "wb") as file:
            file.write(content) if isinstance(content, bytes) else content(file)
            disk.sync(file)
        if keep is not None and path.exists():
            try:
                disk.link(path, keep)
            except OSError:  # a file system without hard links
                disk.replace(path, keep)
                moved = True
        disk.replace(part, path)
    except BaseException:
        if moved and keep is not None:
            with contextlib.suppress(OSError):
                disk.replace(keep, path)
        with contextlib.suppress(OSError):
            try:
                erase(part, disk)
            except OSError:
                disk.unlink(part)
        raise
    disk.sync_folder(path.parent)


def erase(path: Path, disk: Disk = DISK) -> None:
    """Overwrites a file with zeros before it removes its name."""
    with disk.open(path, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        for start in range(0, size, _ZEROS):
            file.write(bytes(min(_ZEROS, size - start)))
        disk.sync(file)
    disk.unlink(path)
