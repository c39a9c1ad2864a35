"""``everface check``: is every byte of a workspace one that was written?"""

from __future__ import annotations

import contextlib
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

from everface.engine.errors import EverfaceError, IntegrityError, KeyMismatchError, WorkspaceError
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress
from everface.engine.replay.chunk import HEAD_PREFIX, image_name, read_head
from everface.engine.replay.codec import codec, decode
from everface.engine.replay.content import read_anchors, reading, require_records
from everface.engine.replay.dbfile import FormatError, read_file
from everface.engine.replay.models import ModelShelf
from everface.engine.replay.records import ENVELOPE, LEDGER, MARK_BYTES, Ledger, is_chunk, open_envelope, read_ledger
from everface.engine.replay.store import DATABASE, ReplayStore
from everface.engine.vault import Key, Seal

__all__ = ["CheckReport", "check_workspace"]

_KNOWN = (DATABASE, f"{DATABASE}-journal", "lock", "models", "resume.part")


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
        ok: nothing is damaged.
        problems: what is damaged, one line each.
        notices: what is harmless but worth knowing, such as unused bytes that are not zero.
        records: records of ``replay.db`` that were verified.
        memories: images that were verified and decoded.
        models: model files that were verified.
        file_bytes: size of ``replay.db``.
        unused_bytes: bytes of it that hold nothing.
        dirty_bytes: unused bytes that are not zero.
    """

    ok: bool
    problems: tuple[str, ...]
    notices: tuple[str, ...]
    records: int
    memories: int
    models: int
    file_bytes: int
    unused_bytes: int
    dirty_bytes: int


def check_workspace(
    path: str | os.PathLike[str], *, key: Key | None = None, on_progress: OnProgress = ignore_progress
) -> CheckReport:
    """Verifies the structure of ``replay.db`` byte by byte, every seal, every image, and every model file.

    Raises:
        WorkspaceError: there is no workspace.
        KeyMismatchError: it is encrypted and the key is missing or wrong.
    """
    path = Path(path)
    if not (path / DATABASE).is_file():
        raise WorkspaceError(str(path), expected="a workspace", found="none", remedy="run `everface init`")
    check = _Check(path, key)
    # Opening rolls back what a killed update left, as any use of the workspace would.
    with check.noting():
        ReplayStore.open(path, key=key, readonly=True).close()
    check.database(on_progress)
    check.models()
    check.strays()
    return check.report()


@dataclass
class _Check:
    path: Path
    key: Key | None
    problems: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    seal: Seal | None = None
    ledger: Ledger | None = None
    losses: int = 0
    live: set[int] = field(default_factory=set)
    empty: set[int] = field(default_factory=set)
    memories: int = 0
    model_files: int = 0
    file_bytes: int = 0
    unused: int = 0
    dirty: int = 0

    @contextlib.contextmanager
    def noting(self):  # type: ignore[no-untyped-def]  # a generator of nothing
        """Adds errors to the problems, but lets a wrong key out."""
        try:
            yield
        except KeyMismatchError:
            raise
        except EverfaceError as error:
            self.problems.append(str(error))

    def database(self, on_progress: OnProgress) -> None:
        file = self.path / DATABASE
        self.file_bytes = file.stat().st_size
        reporter = ProgressReporter("check", self.file_bytes, on_progress)

        def record(number: int, data: bytes) -> None:
            with self.noting(), reading(f"record {number}"):
                self.record(number, data)
            reporter.advance(len(data))

        with open(file, "rb", buffering=0) as handle:

            def read(offset: int, count: int) -> bytes:
                return os.pread(handle.fileno(), count, offset)

            try:
                found = read_file(read, self.file_bytes, record)
            except FormatError as error:
                self.problems.append(f"{DATABASE}: {error}")
                return
            for offset, count in found.unused:
                self.unused += count
                self.dirty += sum(1 for byte in read(offset, count) if byte)
        if self.dirty:
            self.notices.append(f"{self.dirty} unused bytes of {DATABASE} are not zero; the next update zeroes them")
        self.totals(found.sqlite_version)

    def record(self, number: int, data: bytes) -> None:
        if number == ENVELOPE:
            self.seal = open_envelope(data, self.key)
            return
        if self.seal is None:
            raise IntegrityError("envelope", expected="a record", found="none")
        if number == LEDGER:
            self.ledger, losses = read_ledger(data, self.seal)
            self.losses = len(losses)
            return
        if not data:
            self.empty.add(number)
            return
        self.live.add(number)
        mark = self.ledger.marks.get(number) if self.ledger is not None else None
        if is_chunk(number):
            self.chunk(number, data, mark)
        else:
            read_anchors(number, data, self.seal)
            _require(data[-MARK_BYTES:] == mark, "the version that the ledger names")

    def chunk(self, number: int, data: bytes, mark: bytes | None) -> None:
        seal = self.seal
        if seal is None:
            return
        (length,) = struct.unpack_from("<I", data)
        head = data[HEAD_PREFIX : HEAD_PREFIX + length]
        items = read_head(number, head, seal)
        _require(head[-MARK_BYTES:] == mark, "the version that the ledger names")
        end = 0
        for item in items:
            if item.place is None:
                continue
            end = item.place.offset + item.place.length
            with self.noting(), reading(f"memory {item.id}"):
                sealed = data[item.place.offset : end]
                image = seal.unseal_part(sealed, image_name(number, item.place.index), head, item.place.index)
                codec(item.codec)
                decode(image, item.codec, item.resolution)
                self.memories += 1
        _require(not any(data[end:]), "zero bytes after the last image")

    def totals(self, sqlite_version: int) -> None:
        if self.ledger is None:
            self.problems.append("ledger: expected a record, found none that can be read")
            return
        with self.noting():
            require_records(self.live, set(self.ledger.marks))
            require_records(self.empty, set(self.ledger.empty))
        if sqlite_version != self.ledger.sqlite_version:
            self.problems.append(f"{DATABASE}: header: version of SQLite")
        if self.file_bytes > self.ledger.budget_bytes:
            self.problems.append(f"{DATABASE}: {self.file_bytes} bytes, above the budget {self.ledger.budget_bytes}")
        if not self.problems and self.losses != self.memories:
            self.problems.append("ledger: expected a loss for each memory")

    def models(self) -> None:
        shelf = ModelShelf(self.path, self.seal)
        names = set(shelf.names())
        if self.ledger is not None and self.ledger.model:
            names.add(self.ledger.model)
        for name in sorted(names):
            with self.noting():
                shelf.get(name)
                self.model_files += 1

    def strays(self) -> None:
        for file in sorted(self.path.iterdir()):
            if file.name not in _KNOWN:
                self.notices.append(f"{file.name}: not part of a workspace")
        folder = self.path / "models"
        shelved = set(ModelShelf(self.path, self.seal).names())
        for file in sorted(folder.iterdir()) if folder.is_dir() else ():
            if file.stem not in shelved:
                self.notices.append(f"models/{file.name}: left by an interrupted update; the next one deletes it")

    def report(self) -> CheckReport:
        return CheckReport(
            ok=not self.problems, problems=tuple(dict.fromkeys(self.problems)), notices=tuple(self.notices),
            records=len(self.live) + (self.ledger is not None) + (self.seal is not None), memories=self.memories,
            models=self.model_files, file_bytes=self.file_bytes, unused_bytes=self.unused, dirty_bytes=self.dirty,
        )  # fmt: skip


def _require(ok: bool, expected: str) -> None:
    if not ok:
        raise IntegrityError("record", expected=expected, found="something else")
