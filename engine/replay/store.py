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
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from everface.engine.atomic import DISK, Disk, needing
from everface.engine.errors import WorkspaceError
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress
from everface.engine.replay.budget import fitted, minimum_budget, new_content, room_bytes
from everface.engine.replay.changes import Choose, Encoded, committed, evicted, forget_report, forgotten, recoded
from everface.engine.replay.codec import CodecChoice, codec, encode
from everface.engine.replay.codec.rate import denser_choice
from everface.engine.replay.content import SEEN, Content, moved, row_type, stored_bytes
from everface.engine.replay.lock import WriterLock
from everface.engine.replay.memory_file import MemoryFile, file_bytes
from everface.engine.replay.models import ModelShelf
from everface.engine.replay.values import Commit, CompactReport, ForgetReport, Memory, NewMemory, Owner, StoreState
from everface.engine.vault import UNSEALED, Key, ScryptCost, Seal, VaultSeal

__all__ = [
    "CodecChoice", "Commit", "CompactReport", "ForgetReport", "Key", "Memory", "NewMemory", "Owner", "ReplayStore",
    "ScryptCost", "StoreState", "minimum_budget",
]  # fmt: skip
_WRITING = "a disk to write on", "free some space, or make it writable, and try again"


class ReplayStore(contextlib.AbstractContextManager["ReplayStore"]):
    """An open workspace. Use ``create`` or ``open``; it is a context manager."""

    def __init__(self, folder: Path, file: MemoryFile, lock: WriterLock | None) -> None:
        self._folder, self._file, self._lock, self._writing = folder, file, lock, threading.RLock()
        self._encoded: dict[tuple[str, int], Encoded] = {}
        self._content()

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
        folder = Path(path).absolute()
        if folder.exists():
            raise WorkspaceError(str(folder), expected="a new folder", found="one that exists", remedy="choose another")
        empty = new_content(config_json, budget_bytes, choice or CodecChoice(), sealed=key is not None)
        seal: Seal = VaultSeal.of(key, cost) if key else UNSEALED
        building = folder.with_name(f".{folder.name}.{os.getpid()}.part")
        with needing(folder, *_WRITING):
            try:
                shutil.rmtree(building, ignore_errors=True)
                (building / "models").mkdir(parents=True)
                MemoryFile(building, seal).write(empty)
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
            with needing(folder, *_WRITING):
                file.wipe()
            return cls(folder, file, lock)
        except BaseException:
            lock.close()
            raise

    def close(self) -> None:
        """Lets the next writer in; more than once is harmless. What was opened can still be read."""
        if self._lock is not None:
            self._lock.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _content(self) -> Content:
        return self._file.read(lambda content: content)

    @property
    def seal(self) -> Seal:
        """How this workspace's other files are sealed."""
        return self._file.seal

    @property
    def models(self) -> ModelShelf:
        """The workspace's model files."""
        return ModelShelf(self._folder, self._file.seal, self._file.disk)

    @property
    def state(self) -> StoreState:
        """The workspace at a glance."""
        content = self._content()
        memories = room_bytes(content, content.ledger.budget_bytes)
        return StoreState(
            **vars(content.ledger), used_bytes=file_bytes(content), memory_bytes=memories,
            room_bytes=max(0, memories - int(content.costs.sum())), encrypted=content.sealed,
        )  # fmt: skip

    def memories(self) -> tuple[Memory, ...]:
        """All kept photos, ordered by timestamp, then id."""
        return self._file.read(Content.memories)

    def read_images(self, ids: Sequence[str]) -> list[NDArray[np.uint8]]:
        """The images [R, R, 3] of memories, in the order asked for.

        Raises:
            UsageError: no such memory.
            IntegrityError: an image is damaged.
        """

        return self._file.read(lambda content: content.pictures(ids))

    def anchors(self) -> list[tuple[int, NDArray[np.float32]]]:
        """(timestamp, W codes [n, d]) of all timestamps that have any: of memories, then of photos without image."""
        content, codes = self._file.read(lambda content: (content, content.codes()))
        stamps = np.concatenate([content.rows["timestamp"], content.anchors["timestamp"]])
        return [(int(stamp), codes[stamps == stamp]) for stamp in np.unique(stamps)]

    def seen(self) -> tuple[tuple[str, int], ...]:
        """(first 16 hexadecimal digits of the SHA-256, dhash) of photos seen so far, the earliest may be dropped."""
        content = self._content()
        photos = np.concatenate([content.seen, moved(content.rows, SEEN)])
        return tuple(dict.fromkeys((sha.tobytes().hex(), int(dhash)) for sha, dhash in photos))

    def cost(self, new: Sequence[NewMemory]) -> tuple[int, ...]:
        """Bytes that each new memory would take; comparable to ``Memory.bytes``."""
        kinds = (row_type(len(one.view), len(one.embedding)) for one in new)
        images = (image for image, _ in self._images(new))
        return tuple(len(i) + len(one.w) + stored_bytes(k) for one, k, i in zip(new, kinds, images, strict=True))

    def _images(self, new: Sequence[NewMemory]) -> list[Encoded]:
        """New images encoded, each once however often it is asked for."""
        choice = self._content().ledger.choice
        for one in new:
            if (one.sha256, one.timestamp) not in self._encoded:
                self._encoded[one.sha256, one.timestamp] = encode(one.image, choice)
        return [self._encoded[one.sha256, one.timestamp] for one in new]

    def commit(self, commit: Commit) -> None:
        """Writes one update.

        Raises:
            BudgetError: it does not fit; nothing was changed.
            UsageError: unknown ids, a wrong timestamp, or values out of range.
            WorkspaceError: opened read-only, or the disk is full; nothing was changed.
        """
        encoded = self._images(commit.add)
        self._write(lambda old: committed(old, commit, encoded))
        self._encoded.clear()

    def set_budget(self, budget_bytes: int, choose: Choose) -> tuple[str, ...]:
        """Raises or lowers the budget; returns the ids of memories that had to go.

        Args:
            budget_bytes: the new cap of the memory file.
            choose: given the memories and the bytes for them, returns the indices of those to keep.

        Raises:
            BudgetError: below the minimum, or more were chosen than fit; nothing was changed.
        """
        old, new = self._write(lambda old: evicted(old, budget_bytes, choose))
        return tuple(sorted(set(old.ids) - set(new.ids)))

    def forget(self, id: str) -> ForgetReport:
        """Removes a photo, its W code and every copy, and overwrites the file that had them.

        Raises:
            UsageError: no such memory.
            WorkspaceError: it cannot be written or overwritten; the next writer finishes what was begun.
        """
        old, new = self._write(lambda old: forgotten(old, id))
        with needing(self._folder, *_WRITING):
            self._file.wipe()
        return forget_report(id, old, new)

    def compact(self, on_progress: OnProgress = ignore_progress, *, choice: CodecChoice | None = None) -> CompactReport:
        """Encodes memories more densely, at most a sixteenth of them a write. Made for idle time.

        Args:
            on_progress: told after each write; a killed compact loses no more than the last.
            choice: the codec, by default the densest at about the error of the capture
                (``.codec.rate.denser_choice``); memories that have that codec already are left alone.
        """
        before = after = self._content()
        denser = choice or denser_choice(int(before.rows["resolution"].max(initial=0)), before.ledger.choice)
        number = codec(denser.name).number
        todo = [id for id, stored in zip(before.ids, before.rows["codec"], strict=True) if stored != number]
        reporter, group = ProgressReporter("compact", len(todo), on_progress), max(64, len(todo) // 16)
        for start in range(0, len(todo), group):
            ids = todo[start : start + group]
            _, after = self._write(partial(recoded, ids=ids, choice=denser))
            reporter.advance(len(ids))
        done = int((after.rows["codec"][after.rows_of(todo)] == number).sum())
        return CompactReport(done, len(todo), int(before.costs.sum()), int(after.costs.sum()), file_bytes(after))

    def _write(self, change: Callable[[Content], Content]) -> tuple[Content, Content]:
        """Replaces the file by a changed content; returns the one before and the one after."""
        if self._lock is None or not self._lock.held:
            found = "opened read-only" if self._lock is None else "closed, or opened before a fork"
            raise WorkspaceError(str(self._folder), expected="opened for writing", found=found, remedy="open it again")
        with self._writing, needing(self._folder, *_WRITING):
            old = self._content()
            new = fitted(change(old))
            self._file.write(new)
            with contextlib.suppress(OSError):  # the next writer overwrites what this one could not
                self._file.wipe()
        return old, new
