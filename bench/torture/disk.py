"""A disk that loses power or fails, below the production code: a ``everface.engine.atomic.Disk`` that records.

The model is harsh. What was synced stays. Of what was written to a file since its last sync each write is kept, lost or
torn; of the names made, replaced or removed since the folder's last sync each change is kept or lost on its own.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from everface.engine.atomic import Disk


@dataclass
class Inode:
    """A file without its name: what is durable, and what was written since."""

    durable: bytes = b""
    pending: list[tuple[int, bytes]] = field(default_factory=list)

    def after_crash(self, rng: np.random.Generator) -> bytes:
        """One of the states that the file can have after power was lost."""
        data = bytearray(self.durable)
        for offset, written in self.pending:
            fate = rng.random()
            part = written if fate < 0.4 else b"" if fate < 0.7 else written[: int(rng.integers(len(written) + 1))]
            data.extend(bytes(max(0, offset + len(part) - len(data))))
            data[offset : offset + len(part)] = part
        return bytes(data)

    def sync(self) -> None:
        """Makes all writes durable."""
        data = bytearray(self.durable)
        for offset, written in self.pending:
            data.extend(bytes(max(0, offset + len(written) - len(data))))
            data[offset : offset + len(written)] = written
        self.durable, self.pending = bytes(data), []


class PowerDisk(Disk):
    """Does everything, and can say after each operation what a loss of power would leave.

    Args:
        folder: whose files are followed.
    """

    def __init__(self, folder: Path, crash_at: int, rng: np.random.Generator) -> None:
        self._folder, self._left, self._rng = folder, crash_at, rng
        files = {file.name: Inode(file.read_bytes()) for file in folder.iterdir() if file.is_file()}
        self._durable: dict[str, Inode] = dict(files)
        self._names: dict[str, Inode] = files
        self._changes: list[tuple[str, Inode | None]] = []
        self.operations = 0
        self.crashed: Mapping[str, bytes] | None = None

    def _operation(self) -> None:
        """Counts; where power is lost, notes what a disk would hold, and lets the program go on unaware."""
        if self.operations == self._left:
            names = dict(self._durable)
            for name, inode in self._changes:
                if self._rng.random() < 0.5:
                    names.pop(name, None) if inode is None else names.update({name: inode})
            self.crashed = {name: inode.after_crash(self._rng) for name, inode in names.items()}
        self.operations += 1

    def _change(self, name: str, inode: Inode | None) -> None:
        self._names.pop(name, None)
        if inode is not None:
            self._names[name] = inode
        self._changes.append((name, inode))

    def _follows(self, path: Path) -> bool:
        return path.parent == self._folder

    def create(self, path: Path) -> BinaryIO:
        """Follows a new file."""
        self._operation()
        inode = Inode()
        if self._follows(path):
            self._change(path.name, inode)
        return cast(BinaryIO, _Followed(super().create(path), self, inode))

    def edit(self, path: Path) -> BinaryIO:
        """Follows writes over an existing file."""
        self._operation()
        inode = self._names.get(path.name, Inode()) if self._follows(path) else Inode()
        return cast(BinaryIO, _Followed(super().edit(path), self, inode))

    def sync(self, file: BinaryIO) -> None:
        """Makes a file's bytes durable, not its name."""
        self._operation()
        if isinstance(file, _Followed):
            file.flush()
            file.inode.sync()

    def replace(self, source: Path, target: Path) -> None:
        """Changes two names."""
        self._operation()
        if self._follows(target):
            self._change(target.name, self._names[source.name])
            self._change(source.name, None)
        super().replace(source, target)

    def link(self, source: Path, target: Path) -> None:
        """Adds a name."""
        self._operation()
        if self._follows(target):
            self._change(target.name, self._names[source.name])
        super().link(source, target)

    def unlink(self, path: Path) -> None:
        """Removes a name."""
        self._operation()
        if self._follows(path):
            self._change(path.name, None)
        super().unlink(path)

    def sync_folder(self, folder: Path) -> None:
        """Makes the names durable."""
        self._operation()
        if folder == self._folder:
            self._durable, self._changes = dict(self._names), []


class _Followed(io.RawIOBase):
    """A file whose writes are noted."""

    def __init__(self, file: BinaryIO, disk: PowerDisk, inode: Inode) -> None:
        self._file, self._disk, self.inode = file, disk, inode

    def write(self, data: Any) -> int:
        self._disk._operation()
        self.inode.pending.append((self._file.tell(), bytes(data)))
        return self._file.write(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def flush(self) -> None:
        if not self._file.closed:
            self._file.flush()

    def close(self) -> None:
        self._file.close()
        super().close()


class FailingDisk(Disk):
    """Fails once after a number of operations; what fails is done halfway where that can be.

    Args:
        error: errno of the failure, such as ENOSPC or EIO.
    """

    def __init__(self, error: int) -> None:
        self._error = error
        self.left: int | None = None

    def _operation(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise OSError(self._error, os.strerror(self._error))

    def create(self, path: Path) -> BinaryIO:
        """May fail."""
        self._operation()
        return cast(BinaryIO, _Failing(super().create(path), self))

    def sync(self, file: BinaryIO) -> None:
        """May fail."""
        self._operation()
        file.flush()

    def replace(self, source: Path, target: Path) -> None:
        """May fail."""
        self._operation()
        super().replace(source, target)

    def link(self, source: Path, target: Path) -> None:
        """May fail."""
        self._operation()
        super().link(source, target)

    def unlink(self, path: Path) -> None:
        """May fail."""
        self._operation()
        super().unlink(path)

    def sync_folder(self, folder: Path) -> None:
        """May fail."""
        self._operation()


class _Failing(io.RawIOBase):
    """A file whose write may be short."""

    def __init__(self, file: BinaryIO, disk: FailingDisk) -> None:
        self._file, self._disk = file, disk

    def write(self, data: Any) -> int:
        try:
            self._disk._operation()
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
