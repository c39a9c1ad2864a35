"""A failing disk below SQLite: a file layer (VFS) that records, tears, shortens and refuses writes. Needs ``apsw``."""

# ruff: noqa: N802, D102  (the methods have apsw's names, which say what SQLite calls them for)

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import numpy as np

from everface.engine.replay.database import Connection

__all__ = ["Disk", "Operation"]


@dataclass(frozen=True)
class Operation:
    """One call of SQLite to its file layer.

    Attributes:
        kind: ``write``, ``truncate``, ``sync`` or ``delete``.
        name: the file's name.
        offset: where it is written, or the new size.
        data: what is written.
    """

    kind: str
    name: str
    offset: int = 0
    data: bytes = b""


class Disk(apsw.VFS):
    """A VFS over the real one.

    Args:
        name: under which SQLite knows it; unique in the process.
    """

    def __init__(self, name: str) -> None:
        self.log: list[Operation] = []
        self.writes_left: int | None = None
        self.failure: type[Exception] = apsw.FullError
        self.short = False
        self._vfs = name
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        return _File(self, name, flags)

    def xDelete(self, name: str, sync: bool) -> None:
        super().xDelete(name, sync)
        self.log.append(Operation("delete", Path(name).name, int(sync)))

    def connect(self, path: Path, mode: str) -> Connection:
        """For :meth:`ReplayStore.open`."""
        flags = apsw.SQLITE_OPEN_READONLY if mode == "ro" else apsw.SQLITE_OPEN_READWRITE
        with _translated():
            return _Adapter(apsw.Connection(str(path), flags=flags, vfs=self._vfs))

    def allow(self) -> int:
        """Counts a write; returns how much of it to do, in parts of 1, or raises."""
        if self.writes_left is None:
            return 1
        self.writes_left -= 1
        return 1 if self.writes_left >= 0 else 0

    def crash(self, start: Mapping[str, bytes], upto: int, rng: np.random.Generator) -> dict[str, bytes]:
        """The files after power was lost at an operation: unsynced writes are there, or not, or torn.

        Args:
            start: the files as they were when the log began.
            upto: number of operations that were called.
            rng: decides the fate of each unsynced operation.
        """
        files = {name: bytearray(data) for name, data in start.items()}
        for name in {one.name for one in self.log[:upto]}:
            mine = [one for one in self.log[:upto] if one.name == name]
            synced = max((i for i, one in enumerate(mine) if one.kind == "sync"), default=-1) + 1
            sure, unsure = mine[:synced], mine[synced:]
            for one in sure:
                _apply(files, one, len(one.data))
            order = rng.permutation(len(unsure)) if rng.random() < 0.5 else np.arange(len(unsure))
            for i in order:
                fate, one = rng.random(), unsure[i]
                if fate < 0.4:
                    _apply(files, one, len(one.data))
                elif fate < 0.7 and one.kind == "write":
                    _apply(files, one, int(rng.integers(len(one.data) + 1)))
        return {name: bytes(data) for name, data in files.items()}


def _apply(files: dict[str, bytearray], one: Operation, length: int) -> None:
    if one.kind == "delete":
        files.pop(one.name, None)
    elif one.kind == "truncate" and one.name in files:
        del files[one.name][one.offset :]
    elif one.kind == "write":
        data = files.setdefault(one.name, bytearray())
        if len(data) < one.offset:
            data.extend(bytes(one.offset - len(data)))
        data[one.offset : one.offset + length] = one.data[:length]


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        self._name = Path(path).name
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        if not self._disk.allow():
            if self._disk.short:
                super().xWrite(bytes(data)[: len(data) // 2], offset)
            raise self._disk.failure("made to fail")
        super().xWrite(data, offset)
        self._disk.log.append(Operation("write", self._name, offset, bytes(data)))

    def xTruncate(self, size: int) -> None:
        super().xTruncate(size)
        self._disk.log.append(Operation("truncate", self._name, size))

    def xSync(self, flags: int) -> None:
        if not self._disk.allow():
            raise self._disk.failure("made to fail")
        super().xSync(flags)
        self._disk.log.append(Operation("sync", self._name))


@dataclass
class _Adapter:
    """An apsw connection that speaks like :mod:`sqlite3`."""

    connection: Any

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        with _translated():
            cursor = self.connection.execute(sql, parameters)
            return _Rows(cursor.fetchall())

    def blobopen(self, table: str, column: str, row: int, /, *, readonly: bool = True) -> Any:
        with _translated():
            return self.connection.blob_open("main", table, column, row, not readonly)

    def close(self) -> None:
        self.connection.close()


@dataclass
class _Rows:
    rows: list[Any]

    def fetchall(self) -> list[Any]:
        return self.rows

    def fetchone(self) -> Any:
        return self.rows[0] if self.rows else None


class _translated:  # noqa: N801  # used as a word, like contextlib.suppress
    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, at: Any) -> None:
        if isinstance(error, apsw.Error):
            other = sqlite3.OperationalError(str(error))
            # An exception made in Python carries no result code, so its class tells it.
            codes = {apsw.FullError: sqlite3.SQLITE_FULL, apsw.IOError: sqlite3.SQLITE_IOERR}
            other.sqlite_errorcode = codes.get(type(error), getattr(error, "result", sqlite3.SQLITE_ERROR))
            raise other from error
