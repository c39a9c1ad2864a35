"""The replay store: memories, anchors and history in one file that is replaced whole, within a hard number of bytes.

A workspace is a folder ``NAME.everface`` with ``memory.safetensors`` (``memory.sealed`` where it is encrypted),
``models/`` (see :mod:`.models`) and ``lock``. Whatever happens, a later open sees the state before an update or the
state after it. Readers need no lock and hold no handle: each call sees the newest state as a whole.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from everface.engine.atomic import DISK, Disk
from everface.engine.errors import BudgetError, IntegrityError, UsageError, WorkspaceError
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress
from everface.engine.replay.blocks import BodyReader
from everface.engine.replay.budget import fitted, memory_costs, minimum_budget, room_bytes
from everface.engine.replay.changes import (
    Choose,
    Encoded,
    committed,
    evicted,
    forgotten,
    listed,
    new_rows,
    pool_of,
    recoded,
)
from everface.engine.replay.codec import CodecChoice, codec, decode, encode
from everface.engine.replay.codec.rate import denser_choice
from everface.engine.replay.content import ANCHOR_TYPE, Content, Ledger, stored_bytes
from everface.engine.replay.latent_code import dequantize
from everface.engine.replay.lock import WriterLock
from everface.engine.replay.memory_file import MemoryFile, Replaced, Snapshot, Vault
from everface.engine.replay.models import ModelShelf
from everface.engine.replay.values import Commit, CompactReport, ForgetReport, Memory, NewMemory, Owner, StoreState
from everface.engine.vault import Key, ScryptCost, Seal, VaultSeal

__all__ = [
    "CodecChoice", "Commit", "CompactReport", "ForgetReport", "Key", "Memory", "NewMemory", "Owner", "ReplayStore",
    "ScryptCost", "StoreState", "minimum_budget",
]  # fmt: skip

T = TypeVar("T")
_ATTEMPTS = 5


class ReplayStore:
    """An open workspace. Use :meth:`create` or :meth:`open`; it is a context manager."""

    def __init__(self, folder: Path, file: MemoryFile, lock: WriterLock | None) -> None:
        self._folder, self._file, self._lock = folder, file, lock
        self._last: Snapshot | None = None
        self._encoded: dict[tuple[str, int], Encoded] = {}
        self._writing = threading.RLock()
        self._read(lambda content, _: content)

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], *, budget_bytes: int, config_json: str, key: Key | None = None,
        choice: CodecChoice | None = None, cost: ScryptCost | None = None,
    ) -> ReplayStore:  # fmt: skip
        """Makes a workspace folder and opens it for writing. It appears as a whole or not at all.

        Args:
            path: the folder, which must not exist.
            budget_bytes: cap of the memory file.
            config_json: the EngineConfig.
            key: encrypts everything, model files included.
            choice: how new memories are encoded.
            cost: scrypt's work factors.

        Raises:
            WorkspaceError: the folder exists or cannot be made.
            BudgetError: the budget is below :func:`minimum_budget`.
        """
        _require_budget(budget_bytes, config_json)
        folder = Path(path).absolute()
        if folder.exists():
            raise WorkspaceError(str(folder), expected="a new folder", found="one that exists", remedy="choose another")
        ledger = Ledger(0, "", config_json, budget_bytes, choice if choice is not None else CodecChoice())
        vault = None if key is None else Vault.make(key, cost if cost is not None else ScryptCost())
        building = folder.with_name(f".{folder.name}.{os.getpid()}.part")
        try:
            shutil.rmtree(building, ignore_errors=True)
            (building / "models").mkdir(parents=True)
            MemoryFile(building, vault).write(Content(ledger))
            building.rename(folder)
            DISK.sync_folder(folder.parent)
        except OSError as error:
            raise WorkspaceError(str(folder), expected="a folder to write in", found=str(error)) from error
        finally:
            shutil.rmtree(building, ignore_errors=True)
        return cls.open(folder, key=key)

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, key: Key | None = None, readonly: bool = False, disk: Disk = DISK
    ) -> ReplayStore:
        """Opens a workspace, as a reader or as its only writer. ``disk`` is for tests of failing disks.

        Raises:
            WorkspaceError: it does not exist, is not one, has a writer already, or is from another version.
            IntegrityError: it is damaged.
            KeyMismatchError: it is encrypted and the key is missing or wrong.
        """
        folder = Path(path).absolute()
        if not folder.is_dir():
            raise WorkspaceError(str(path), expected="a workspace folder", found="none", remedy="run `everface init`")
        file = MemoryFile.find(folder, key, disk)
        if readonly:
            return cls(folder, file, None)
        file.require_writable()
        lock = WriterLock(folder)
        try:
            with _writing_to(folder):
                file.wipe()
            return cls(folder, file, lock)
        except BaseException:
            lock.release()
            raise

    def close(self) -> None:
        """Lets the next writer in; more than once is harmless. What was opened can still be read."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> ReplayStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _read(self, work: Callable[[Content, BodyReader], T]) -> T:
        """Runs work on the newest state, and again where a writer replaced the file meanwhile."""
        attempts = 0
        while True:
            try:
                last = self._last = self._last or self._file.load()
                with self._file.body(last) as body:
                    return work(last.content, body)
            except Replaced:
                self._last = None
            except IntegrityError:
                # A replaced file is overwritten while it may still be read; only what stays wrong is damage.
                self._last, attempts = None, attempts + 1
                if attempts == _ATTEMPTS:
                    raise

    @property
    def _content(self) -> Content:
        return self._read(lambda content, _: content)

    # -- reading

    @property
    def seal(self) -> Seal:
        """How this workspace's other files are sealed."""
        return self._file.seal

    @property
    def models(self) -> ModelShelf:
        """The workspace's model files."""
        return ModelShelf(self._folder, self._file.seal)

    @property
    def choice(self) -> CodecChoice:
        """How new memories are encoded."""
        return self._content.ledger.choice

    @property
    def state(self) -> StoreState:
        """The workspace at a glance."""
        content = self._content
        ledger, memory = content.ledger, int(memory_costs(content.rows, content.dimension).sum())
        return StoreState(
            timestamps=ledger.timestamps, model=ledger.model, config_json=ledger.config_json,
            budget_bytes=ledger.budget_bytes, used_bytes=self._file.size(content), memory_bytes=memory,
            anchor_bytes=len(content.anchors) * (content.dimension + stored_bytes(ANCHOR_TYPE)),
            room_bytes=max(0, room_bytes(content, ledger.budget_bytes, self._file.size) - memory),
            encrypted=isinstance(self.seal, VaultSeal), forgotten=ledger.forgotten, days=ledger.days,
        )  # fmt: skip

    def memories(self) -> tuple[Memory, ...]:
        """All kept photos, ordered by timestamp, then id."""
        return self._read(lambda content, body: listed(content, _levels(content, body)[: len(content.rows)]))

    def read_images(self, ids: Sequence[str]) -> list[NDArray[np.uint8]]:
        """The images [R, R, 3] of memories, in the order asked for.

        Raises:
            UsageError: no such memory.
            IntegrityError: an image is damaged.
        """

        def read(content: Content, body: BodyReader) -> list[tuple[bytes, int, int]]:
            wanted = [_row(content, id) for id in ids]
            images = {row: _image(content, body, row) for row in sorted(set(wanted))}
            return [(images[row], *content.rows[["codec", "resolution"]][row].tolist()) for row in wanted]

        return [decode(*one) for one in self._read(read)]

    def anchors(self) -> list[tuple[int, NDArray[np.float32]]]:
        """(timestamp, W codes [n, d]) of all timestamps that have any: of photos without image, then of memories."""

        def read(content: Content, body: BodyReader) -> tuple[Content, NDArray[np.uint8]]:
            return content, _levels(content, body)

        content, levels = self._read(read)
        stamps = np.concatenate([content.rows["timestamp"], content.anchors["timestamp"]])
        codes = dequantize(np.concatenate([content.rows["scale"], content.anchors["scale"]]), levels)
        return [(int(stamp), codes[stamps == stamp]) for stamp in np.unique(stamps)]

    def history(self) -> tuple[dict[str, Any], ...]:
        """Summaries of the updates, oldest first; the earliest may have been dropped."""
        return tuple(dict(entry) for entry in self._content.ledger.history)

    def seen(self) -> tuple[tuple[str, int], ...]:
        """(first 16 hexadecimal digits of the SHA-256, dhash) of photos seen so far, the earliest may be dropped."""
        content = self._content
        both = (
            (one["sha256"].tobytes().hex(), int(one["dhash"])) for part in (content.seen, content.rows) for one in part
        )
        return tuple(dict.fromkeys(both))

    def owner(self) -> Owner | None:
        """The enrolled person, None before the first update."""
        return self._content.ledger.owner

    # -- sizes

    def cost(self, new: Sequence[NewMemory]) -> tuple[int, ...]:
        """Bytes that each new memory would take; comparable to :attr:`Memory.bytes`."""
        rows = new_rows(new, self._images(new), self.choice)
        return tuple(memory_costs(rows, len(new[0].w) if new else 0).tolist())

    def room_for_memories(self) -> int:
        """Bytes that memories, old and new, may take after the next commit; anchors without image make way."""
        content = self._content
        return room_bytes(content, content.ledger.budget_bytes, self._file.size)

    # -- writing

    def commit(self, commit: Commit) -> None:
        """Writes one update.

        Raises:
            BudgetError: it does not fit; nothing was changed.
            UsageError: unknown ids, a wrong timestamp, or values out of range.
            WorkspaceError: opened read-only, or the disk is full; nothing was changed.
        """
        encoded = self._images(commit.add)
        self._write(lambda old, _: committed(old, commit, [_row(old, id) for id in commit.keep], encoded))
        self._encoded.clear()

    def set_budget(self, budget_bytes: int, choose: Choose, *, choice: CodecChoice | None = None) -> tuple[str, ...]:
        """Raises or lowers the budget; returns the ids of memories that had to go.

        Args:
            budget_bytes: the new cap of the memory file.
            choose: given the pool of memories and the bytes for them, returns the indices of those to keep.
            choice: encode new memories in this way from now on, and the old ones where that takes fewer bytes.

        Raises:
            BudgetError: below the minimum; nothing was changed.
        """
        self._require_writer()
        before = self._content
        _require_budget(budget_bytes, before.ledger.config_json)

        def change(old: Content, body: BodyReader) -> Content:
            new = old
            if choice is not None:
                new = recoded(new, {row: _image(old, body, row) for row in range(len(old.rows))}, choice)
                new = replace(new, ledger=replace(new.ledger, choice=choice))
            room, levels = room_bytes(new, budget_bytes, self._file.size), _levels(old, body)[: len(old.rows)]
            return evicted(new, budget_bytes, room, lambda: choose(pool_of(new, levels), room))

        self._write(change)
        return tuple(sorted(set(before.ids) - set(self._content.ids)))

    def forget(self, id: str) -> ForgetReport:
        """Removes a photo, its W code and every copy, and overwrites the file that had them.

        Raises:
            UsageError: no such memory.
            WorkspaceError: it cannot be written or overwritten; the next writer finishes what was begun.
        """
        reports = []

        def change(old: Content, body: BodyReader) -> Content:
            row, levels = _row(old, id), _levels(old, body)
            same = (levels[len(old.rows) :] == levels[row]).all(axis=1)
            same &= (old.anchors["scale"] == old.rows["scale"][row]).all(axis=1)
            new, report = forgotten(old, row, same)
            reports.append(report)
            return new

        self._write(change)
        with _writing_to(self._folder):
            self._file.wipe()
        return reports[0]

    def compact(
        self, on_progress: OnProgress = ignore_progress, *, choice: CodecChoice | None = None, group: int | None = None
    ) -> CompactReport:
        """Encodes memories more densely, a group at a time. Made for idle time.

        Args:
            on_progress: told after each group.
            choice: the codec, by default the densest at about the error of the capture
                (:func:`.codec.rate.denser_choice`); memories that have that codec already are left alone.
            group: memories that are written at once, a sixteenth of all by default; a killed compact loses one group.
        """
        self._require_writer()
        content = self._content
        if choice is None:
            choice = denser_choice(int(content.rows["resolution"].max(initial=0)), content.ledger.choice)
        todo = [content.ids[row] for row in np.flatnonzero(content.rows["codec"] != codec(choice.name).number)]
        group = group or max(64, len(todo) // 16)
        reporter = ProgressReporter("compact", len(todo), on_progress)
        for start in range(0, len(todo), group):
            ids, denser = todo[start : start + group], choice

            def change(old: Content, body: BodyReader, ids: list[str] = ids, choice: CodecChoice = denser) -> Content:
                return recoded(old, {row: _image(old, body, row) for row in (_row(old, id) for id in ids)}, choice)

            self._write(change)
            reporter.advance(len(ids))
        after = self._content
        codecs = after.rows["codec"][[after.row_of[id] for id in todo]]
        return CompactReport(
            int((codecs == codec(choice.name).number).sum()), len(todo),
            *(int(memory_costs(one.rows, one.dimension).sum()) for one in (content, after)), self._file.size(after),
        )  # fmt: skip

    def _write(self, change: Callable[[Content, BodyReader], Content]) -> None:
        self._require_writer()
        with self._writing, _writing_to(self._folder):
            new = self._read(lambda old, body: (fitted(change(old, body), self._file.size), self._last))
            try:
                self._file.write(*new)
            finally:
                self._last = None  # only the file knows whether a write that failed was done
            with contextlib.suppress(OSError):  # the next writer overwrites what this one could not
                self._file.wipe()

    def _images(self, new: Sequence[NewMemory]) -> list[Encoded]:
        choice = self.choice
        for one in new:
            if (one.sha256, one.timestamp) not in self._encoded:
                self._encoded[one.sha256, one.timestamp] = encode(one.image, choice)
        return [self._encoded[one.sha256, one.timestamp] for one in new]

    def _require_writer(self) -> None:
        if self._lock is None or not self._lock.held:
            found = "opened read-only" if self._lock is None else "closed"
            raise WorkspaceError(str(self._folder), expected="opened for writing", found=found, remedy="open it again")


def _levels(content: Content, body: BodyReader) -> NDArray[np.uint8]:
    """[n + m, d] levels of the W codes of memories and anchors."""
    return np.frombuffer(body.read(0, content.code_bytes), np.uint8).reshape(-1, max(1, content.dimension))


def _image(content: Content, body: BodyReader, row: int) -> bytes:
    return body.read(int(content.image_offsets[row]), int(content.image_offsets[row + 1]))


def _row(content: Content, id: str) -> int:
    try:
        return content.row_of[id]
    except KeyError:
        raise UsageError(
            f"memory {id}", expected="an id that `everface status` lists", found="none such",
            remedy="choose one of those",
        ) from None  # fmt: skip


def _require_budget(budget_bytes: int, config_json: str) -> None:
    least = minimum_budget(config_json)
    if budget_bytes < least:
        raise BudgetError(
            "budget", expected=f"at least {least} bytes", found=f"{budget_bytes}", remedy=f"use --budget {least}"
        )


@contextlib.contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorkspaceError(
            str(folder), expected="a disk that can be written", found=error.strerror or str(error),
            remedy="free some space, or make it writable, and try again",
        ) from error  # fmt: skip
