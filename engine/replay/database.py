"""SQLite as a store of numbered records: one table, small pages, one transaction at a time, and no leftovers.

Rollback journal with ``synchronous=FULL``: SQLite syncs the journal, then the file, then invalidates the journal.
The journal is kept (``PERSIST``) so that its old pages can be overwritten before it is deleted.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol
from urllib.parse import quote

from everface.engine.errors import IntegrityError, WorkspaceError
from everface.engine.replay.dbfile import APPLICATION_ID, SCHEMA, SCHEMA_VERSION, FormatError, unused_ranges
from everface.engine.replay.models import sync_directory

__all__ = ["Connect", "Connection", "Database", "connect"]

_LONGEST_RECORD = 1 << 30
_JOURNAL_HEADER = 28


class Connection(Protocol):
    """The part of :class:`sqlite3.Connection` that is used; tests put another file layer below it."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Any:
        """Runs one statement."""

    def blobopen(self, table: str, column: str, row: int, /, *, readonly: bool = ...) -> Any:
        """Opens one value for partial reading."""

    def close(self) -> None:
        """Closes."""


Connect = Callable[[Path, str], Connection]
Migration = Callable[["Database"], None]
# What turns version n into n + 1. There is no older version yet; `tests` runs a made-up step through this.
MIGRATIONS: Mapping[int, Migration] = MappingProxyType({})


def connect(path: Path, mode: str) -> Connection:
    """Opens a file with SQLite, ``mode`` as in its URIs: ro, rw or rwc."""
    uri = f"file:{quote(str(path.resolve()))}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10.0, cached_statements=32)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_RECORD)
    return connection


class Database:
    """Numbered records in ``replay.db``.

    Args:
        path: the file.
        connection: an open connection to it.
        readonly: whether writing is refused.
    """

    def __init__(self, path: Path, connection: Connection, readonly: bool) -> None:
        self.path, self._connection, self.readonly = path, connection, readonly
        self._file: int | None = None

    @classmethod
    def create(cls, path: Path, page_size: int) -> Database:
        """Makes a new file with an empty table."""
        database = cls(path, connect(path, "rwc"), readonly=False)
        with database._speaking():
            for pragma in (f"page_size={page_size}", "auto_vacuum=INCREMENTAL", f"application_id={APPLICATION_ID}"):
                database._connection.execute(f"PRAGMA {pragma}")
            database._configure()
            with database.transaction():
                database._connection.execute(SCHEMA)
                database._connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        return database

    @classmethod
    def open(
        cls, path: Path, readonly: bool, connect: Connect = connect, migrations: Mapping[int, Migration] = MIGRATIONS
    ) -> Database:
        """Opens a file, rolling back what a killed writer left; a writer brings an older schema up to date.

        Raises:
            WorkspaceError: there is no such file, it is not ours, or a newer version wrote it.
            IntegrityError: it is damaged.
        """
        # A reader too may have to roll back a killed update, so it asks for a writable file where it can.
        writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
        if not path.is_file():
            raise WorkspaceError(str(path), expected="a workspace", found="none", remedy="run `everface init`")
        if not readonly and not writable:
            raise WorkspaceError(
                str(path), expected="a file that can be written", found="a read-only one",
                remedy="make it and its folder writable",
            )  # fmt: skip
        mode = "rw" if writable else "ro"
        database = cls(path, connect(path, mode), readonly)
        try:
            with database._speaking():
                version = database._identify()
                database._configure()
                database._migrate(version, migrations)
                if readonly:
                    database._connection.execute("PRAGMA query_only=ON")
                else:
                    database._wipe_journal()
                    database._scrub()
        except BaseException:
            database.close()
            raise
        return database

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def ids(self) -> tuple[int, ...]:
        """Numbers of all records that are not empty, ascending."""
        with self._speaking():
            rows = self._connection.execute("SELECT id FROM record WHERE length(data)>0 ORDER BY id").fetchall()
        return tuple(row[0] for row in rows)

    def get(self, number: int) -> bytes:
        """A whole record."""
        with self._speaking():
            row = self._connection.execute("SELECT data FROM record WHERE id=?", (number,)).fetchone()
        if row is None or not isinstance(row[0], bytes):
            raise IntegrityError(f"{self.path.name} record {number}", expected="a record", found="none")
        return row[0]

    def read(self, number: int, offset: int, count: int) -> bytes:
        """Part of a record, shorter where the record ends."""
        with self._speaking(), self._connection.blobopen("record", "data", number, readonly=True) as blob:
            blob.seek(offset)
            part = blob.read(count)
        return bytes(part)

    def put(self, number: int, data: bytes) -> None:
        """Writes a record, inside a transaction; SQLite zeroes the bytes that the old one no longer needs."""
        self._connection.execute("INSERT OR REPLACE INTO record VALUES(?,?)", (number, data))

    def trim(self) -> None:
        """Moves pages into the free ones and shortens the file, inside a transaction."""
        # The pragma yields rows without columns, one a page, and Python's sqlite3 stops at the first.
        while free := self.pragma("freelist_count"):
            self._connection.execute("PRAGMA incremental_vacuum").fetchall()
            if self.pragma("freelist_count") >= free:
                return

    def pragma(self, name: str) -> int:
        """Reads a numeric pragma such as ``page_count``."""
        with self._speaking():
            return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])

    def sqlite_version(self) -> int:
        """The version of SQLite as its file header writes it, such as 3040001."""
        with self._speaking():
            text = self._connection.execute("SELECT sqlite_version()").fetchone()[0]
        major, minor, patch = (int(part) for part in (*text.split("."), "0")[:3])
        return major * 1_000_000 + minor * 1000 + patch

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Several reads of one and the same state."""
        with self._speaking():
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing: commits at the end, rolls back on any exception.

        Raises:
            WorkspaceError: the disk is full, or the file cannot be written.
        """
        with self._speaking():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                with contextlib.suppress(OSError):
                    self._wipe_journal()
            self._scrub()

    def _migrate(self, version: int, migrations: Mapping[int, Migration]) -> None:
        """Runs every step from an older version in one transaction: all of them or none."""
        if version == SCHEMA_VERSION:
            return
        missing = next((one for one in range(version, SCHEMA_VERSION) if one not in migrations), None)
        if self.readonly or missing is not None:
            known = f"install the everface that knows version {missing}"
            remedy = "open it for writing once" if missing is None else known
            found = f"version {version}"
            raise WorkspaceError(
                str(self.path), expected=f"schema version {SCHEMA_VERSION}", found=found, remedy=remedy
            )
        with self.transaction():
            for one in range(version, SCHEMA_VERSION):
                migrations[one](self)
            self._connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def _identify(self) -> int:
        rows = self._connection.execute("SELECT CAST(sql AS BLOB) FROM sqlite_schema").fetchall()
        application, version = self.pragma("application_id"), self.pragma("user_version")
        if application != APPLICATION_ID:
            raise WorkspaceError(
                str(self.path), expected="a replay store", found=f"application id {application:#x}",
                remedy="choose a workspace that `everface init` made",
            )  # fmt: skip
        if version > SCHEMA_VERSION:
            raise WorkspaceError(
                str(self.path), expected=f"schema version {SCHEMA_VERSION} or older", found=f"version {version}",
                remedy="install a newer everface",
            )  # fmt: skip
        if [row[0] for row in rows] != [SCHEMA.encode()]:
            raise IntegrityError(str(self.path), expected="the schema of a replay store", found="another schema")
        return version

    def _configure(self) -> None:
        for pragma in (
            "journal_mode=PERSIST", "synchronous=FULL", "secure_delete=ON", "temp_store=MEMORY", "trusted_schema=OFF",
            "cell_size_check=ON", "mmap_size=0", "cache_size=-8192", "cache_spill=OFF",
        ):  # fmt: skip
            self._connection.execute(f"PRAGMA {pragma}").fetchall()

    def _scrub(self) -> None:
        """Zeroes bytes that hold nothing. SQLite leaves old bytes between cells when it balances pages.

        Only unused bytes are written, so a write that is cut short harms nothing, as SQLite assumes of its own.
        """
        if self._file is None:
            # Opened once: closing any handle of a file gives up all locks that the process has on it.
            self._file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        handle, dirty = self._file, False

        def read(offset: int, count: int) -> bytes:
            return os.pread(handle, count, offset)

        with contextlib.suppress(FormatError, OSError):  # damage is for the reader and for `check` to report
            for offset, count in unused_ranges(read, os.fstat(handle).st_size):
                if any(read(offset, count)):
                    os.pwrite(handle, bytes(count), offset)
                    dirty = True
            if dirty:
                os.fsync(handle)

    def _wipe_journal(self) -> None:
        """Overwrites and deletes the journal of a finished transaction, which holds the pages as they were."""
        journal = self.path.with_name(self.path.name + "-journal")
        try:
            handle = os.open(journal, os.O_RDWR)
        except FileNotFoundError:
            return
        try:
            # A commit or rollback ends by zeroing the header. Any other header is a journal still needed.
            if any(os.pread(handle, _JOURNAL_HEADER, 0)):
                return
            left = os.fstat(handle).st_size
            while left > 0:
                left -= os.write(handle, bytes(min(left, 1 << 20)))
            os.fsync(handle)
        finally:
            os.close(handle)
        journal.unlink()
        sync_directory(self.path.parent)

    @contextlib.contextmanager
    def _speaking(self) -> Iterator[None]:
        """Turns SQLite's errors into ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._translate(error) from error
        except UnicodeDecodeError as error:
            # SQLite quotes a damaged schema in its message, and Python cannot decode that.
            raise IntegrityError(str(self.path), expected="an intact replay store", found="a damaged schema") from error

    def _translate(self, error: sqlite3.Error) -> WorkspaceError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        name = str(self.path)
        if code == sqlite3.SQLITE_FULL:
            return WorkspaceError(name, expected="room on the disk", found=str(error), remedy="free some space")
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return WorkspaceError(name, expected="a free file", found="one that another process uses", remedy="wait")
        if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            return WorkspaceError(name, expected="a file that can be read and written", found=str(error))
        return IntegrityError(
            name, expected="an intact replay store", found=str(error), remedy="restore it from a copy of the workspace"
        )
