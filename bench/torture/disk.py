"""A disk that loses power or fails, below the production code: a ``everface.engine.atomic.Disk`` that is asked.

The model of a lost power is harsh. What was synced stays. Of what was written to a file since its last sync each write
is kept, lost or torn; of the names made, replaced or removed since the folder's last sync each is kept or lost alone.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from everface.engine.atomic import Disk


class _AskedDisk(Disk):
    """Calls ``before`` ahead of every operation."""

    def before(self, kind: str, *paths: Path, at: int = 0, data: bytes = b"") -> None:
        """An operation on files of one folder is about to be done."""

    def open(self, path: Path, mode: str) -> BinaryIO:
        """Asks first."""
        self.before("create" if mode == "wb" else "edit", path)
        return cast(BinaryIO, _AskedFile(super().open(path, mode), self, path))

    def sync(self, file: BinaryIO) -> None:
        """Asks, and spares the real disk."""
        file.flush()
        self.before("sync", Path(file.name))

    def replace(self, source: Path, target: Path) -> None:
        """Asks first."""
        self.before("replace", source, target)
        super().replace(source, target)

    def link(self, source: Path, target: Path) -> None:
        """Asks first."""
        self.before("link", source, target)
        super().link(source, target)

    def unlink(self, path: Path) -> None:
        """Asks first."""
        self.before("unlink", path)
        super().unlink(path)

    def sync_folder(self, folder: Path) -> None:
        """Asks, and spares the real disk."""
        self.before("sync_folder", folder)


class _AskedFile(io.RawIOBase):
    def __init__(self, file: BinaryIO, disk: _AskedDisk, path: Path) -> None:
        self._file, self._disk, self.name = file, disk, str(path)

    def write(self, data: Any) -> int:
        try:
            self._disk.before("write", Path(self.name), at=self._file.tell(), data=bytes(data))
        except OSError:
            self._file.write(bytes(data)[: len(data) // 2])
            raise
        return self._file.write(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def flush(self) -> None:
        if not self._file.closed:
            self._file.flush()

    def close(self) -> None:
        self._file.close()
        super().close()


class FailingDisk(_AskedDisk):
    """Fails with an errno such as ENOSPC once ``left`` operations are done, and from then on; a write by half."""

    def __init__(self, error: int) -> None:
        self._error = error
        self.left: int | None = None

    def before(self, kind: str, *paths: Path, at: int = 0, data: bytes = b"") -> None:
        """Counts; removing names always works."""
        if self.left is not None and kind != "unlink":
            self.left -= 1
            if self.left < 0:
                raise OSError(self._error, os.strerror(self._error))


@dataclass(eq=False)
class _Inode:
    """A file without its name: what is durable, and what was written since."""

    durable: bytes = b""
    pending: list[tuple[int, bytes]] = field(default_factory=list)

    def after(self, fate: np.random.Generator | None = None) -> bytes:
        """What it holds once all is written, or one of the states that a crash can leave."""
        data = bytearray(self.durable)
        for offset, part in self.pending:
            chance = 0.0 if fate is None else fate.random()
            kept = (
                len(part) if chance < 0.4 or fate is None else 0 if chance < 0.7 else int(fate.integers(len(part) + 1))
            )
            data.extend(bytes(max(0, offset + kept - len(data))))
            data[offset : offset + kept] = part[:kept]
        return bytes(data)


class PowerDisk(_AskedDisk):
    """Does everything, and remembers what would be on a disk that lost power ahead of one operation.

    Args:
        folder: whose files are followed.
        crash_at: number of the operation.
        rng: decides what is lost.
    """

    def __init__(self, folder: Path, crash_at: int, rng: np.random.Generator) -> None:
        self._crash_at, self._rng = crash_at, rng
        self._files = {file: _Inode(file.read_bytes()) for file in folder.rglob("*") if file.is_file()}
        self._durable, self._changes = dict(self._files), list[tuple[Path, _Inode | None]]()
        self.operations = 0
        self.crashed: Mapping[Path, bytes] | None = None

    def before(self, kind: str, *paths: Path, at: int = 0, data: bytes = b"") -> None:
        """Loses power where it is time, and otherwise does the operation in the model."""
        if self.operations == self._crash_at:
            disk = _changed(self._durable, [one for one in self._changes if self._rng.random() < 0.5])
            self.crashed = {path: inode.after(self._rng) for path, inode in disk.items()}
        self.operations += 1
        if kind == "write":
            self._files[paths[0]].pending.append((at, data))
        elif kind == "sync":
            inode = self._files[paths[0]]
            inode.durable, inode.pending = inode.after(), []
        elif kind == "sync_folder":
            self._durable = _changed(self._durable, [one for one in self._changes if one[0].parent == paths[0]])
            self._changes = [one for one in self._changes if one[0].parent != paths[0]]
        elif kind != "edit":
            inode = _Inode() if kind == "create" else self._files[paths[0]]
            changes = [(paths[-1], None if kind == "unlink" else inode)]
            changes += [(paths[0], None)] if kind == "replace" else []
            self._files, self._changes = _changed(self._files, changes), self._changes + changes


def _changed(files: Mapping[Path, _Inode], changes: Sequence[tuple[Path, _Inode | None]]) -> dict[Path, _Inode]:
    """Files after names were given or taken away (None)."""
    after: dict[Path, _Inode | None] = {**files, **dict(changes)}
    return {path: inode for path, inode in after.items() if inode is not None}
