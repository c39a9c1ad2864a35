"""The replay store: memories, anchors and history in one file that is replaced whole, within a hard number of bytes.

A workspace is a folder ``NAME.everface`` with ``memory.safetensors`` (``memory.sealed`` where it is encrypted),
``models/`` (see ``.models``) and ``lock``. Whatever happens, a later open sees the state before an update or the
state after it. Readers need no lock and hold no handle: each call sees the newest state as a whole.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from everface.engine.atomic import DISK, Disk
from everface.engine.errors import BudgetError, WorkspaceError
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress
from everface.engine.replay.blocks import BodyReader
from everface.engine.replay.budget import fitted, memory_costs, minimum_budget, require_budget, room_bytes
from everface.engine.replay.changes import committed, evicted, forgotten, recoded
from everface.engine.replay.codec import CodecChoice, codec
from everface.engine.replay.codec.rate import denser_choice
from everface.engine.replay.content import Content
from everface.engine.replay.lock import WriterLock
from everface.engine.replay.memory_file import MemoryFile
from everface.engine.replay.reader import StoreReader, image_of, levels_of, memories_of, row_of
from everface.engine.replay.values import (
    Commit,
    CompactReport,
    ForgetReport,
    Ledger,
    Memory,
    NewMemory,
    Owner,
    StoreState,
)
from everface.engine.vault import Key, ScryptCost, VaultSeal

__all__ = [
    "CodecChoice", "Commit", "CompactReport", "ForgetReport", "Key", "Memory", "NewMemory", "Owner", "ReplayStore",
    "ScryptCost", "StoreState", "minimum_budget",
]  # fmt: skip

Choose = Callable[[Sequence[Memory], int], NDArray[np.int64]]


class ReplayStore(StoreReader):
    """An open workspace. Use ``create`` or ``open``; it is a context manager."""

    def __init__(self, folder: Path, file: MemoryFile, lock: WriterLock | None) -> None:
        super().__init__(folder, file)
        self._lock, self._writing = lock, threading.RLock()

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
            BudgetError: the budget is below ``minimum_budget``.
        """
        require_budget(budget_bytes, config_json)
        folder = Path(path).absolute()
        if folder.exists():
            raise WorkspaceError(str(folder), expected="a new folder", found="one that exists", remedy="choose another")
        ledger = Ledger(0, "", config_json, budget_bytes, choice or CodecChoice())
        building = folder.with_name(f".{folder.name}.{os.getpid()}.part")
        with _writing_to(folder):
            try:
                shutil.rmtree(building, ignore_errors=True)
                (building / "models").mkdir(parents=True)
                MemoryFile(building, VaultSeal.of(key, cost) if key else None).write(Content(ledger))
                building.rename(folder)
                DISK.sync_folder(folder.parent)
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

    def __exit__(self, *_: object) -> None:
        self.close()

    def commit(self, commit: Commit) -> None:
        """Writes one update.

        Raises:
            BudgetError: it does not fit; nothing was changed.
            UsageError: unknown ids, a wrong timestamp, or values out of range.
            WorkspaceError: opened read-only, or the disk is full; nothing was changed.
        """
        encoded = self._images(commit.add)
        self._write(lambda old, _: committed(old, commit, [row_of(old, id) for id in commit.keep], encoded))
        self._encoded.clear()

    def set_budget(self, budget_bytes: int, choose: Choose) -> tuple[str, ...]:
        """Raises or lowers the budget; returns the ids of memories that had to go.

        Args:
            budget_bytes: the new cap of the memory file.
            choose: given the memories and the bytes for them, returns the indices of those to keep.

        Raises:
            BudgetError: below the minimum, or more were chosen than fit; nothing was changed.
        """
        gone = list[str]()

        def change(old: Content, body: BodyReader) -> Content:
            require_budget(budget_bytes, old.ledger.config_json)
            room, costs = room_bytes(old, budget_bytes, self._file.size), memory_costs(old)
            chosen = np.arange(len(costs))
            if costs.sum() > room:
                memories = memories_of(old, levels_of(old, body))
                chosen = np.sort([old.row_of[memories[i].id] for i in choose(memories, room)]).astype(np.int64)
                if costs[chosen].sum() > room:
                    found = str(costs[chosen].sum())
                    raise BudgetError("policy", expected=f"memories of at most {room} bytes", found=found)
            gone[:] = sorted(set(old.ids) - {old.ids[row] for row in chosen})
            return evicted(old, budget_bytes, chosen)

        self._write(change)
        return tuple(gone)

    def forget(self, id: str) -> ForgetReport:
        """Removes a photo, its W code and every copy, and overwrites the file that had them.

        Raises:
            UsageError: no such memory.
            WorkspaceError: it cannot be written or overwritten; the next writer finishes what was begun.
        """
        reports = []

        def change(old: Content, body: BodyReader) -> Content:
            row, levels = row_of(old, id), levels_of(old, body)
            copies = (levels[len(old.rows) :] == levels[row]).all(axis=1)
            copies &= (old.anchors["scale"] == old.rows["scale"][row]).all(axis=1)
            new, report = forgotten(old, id, copies)
            reports.append(report)
            return new

        self._write(change)
        with _writing_to(self._folder):
            self._file.wipe()
        return reports[-1]

    def compact(self, on_progress: OnProgress = ignore_progress, *, choice: CodecChoice | None = None) -> CompactReport:
        """Encodes memories more densely, at most a sixteenth of them a write. Made for idle time.

        Args:
            on_progress: told after each write; a killed compact loses no more than the last.
            choice: the codec, by default the densest at about the error of the capture
                (``.codec.rate.denser_choice``); memories that have that codec already are left alone.
        """
        before = self._content()
        denser = choice or denser_choice(int(before.rows["resolution"].max(initial=0)), before.ledger.choice)
        number = codec(denser.name).number
        todo = [id for id, stored in zip(before.ids, before.rows["codec"], strict=True) if stored != number]
        reporter, group = ProgressReporter("compact", len(todo), on_progress), max(64, len(todo) // 16)
        for start in range(0, len(todo), group):
            ids = todo[start : start + group]

            def change(old: Content, body: BodyReader, ids: list[str] = ids) -> Content:
                return recoded(old, {row: image_of(old, body, row) for row in (row_of(old, id) for id in ids)}, denser)

            self._write(change)
            reporter.advance(len(ids))
        after = self._content()
        done = sum(int(after.rows["codec"][after.row_of[id]] == number) for id in todo)
        sizes = int(memory_costs(before).sum()), int(memory_costs(after).sum())
        return CompactReport(done, len(todo), *sizes, self._file.size(after))

    def _write(self, change: Callable[[Content, BodyReader], Content]) -> None:
        """Replaces the file by a changed content."""
        if self._lock is None or not self._lock.held:
            found = "opened read-only" if self._lock is None else "closed, or opened before a fork"
            raise WorkspaceError(str(self._folder), expected="opened for writing", found=found, remedy="open it again")
        with self._writing, _writing_to(self._folder):
            new, old = self._file.read(lambda old, body: (fitted(change(old, body), self._file.size), old))
            self._file.write(new, old)
            with contextlib.suppress(OSError):  # the next writer overwrites what this one could not
                self._file.wipe()


@contextlib.contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        found, remedy = error.strerror or str(error), "free some space, or make it writable, and try again"
        raise WorkspaceError(str(folder), expected="a disk to write on", found=found, remedy=remedy) from error
