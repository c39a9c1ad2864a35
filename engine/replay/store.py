"""The replay store: memories, anchors and history in ``replay.db``, within a hard number of bytes.

A workspace is a folder ``NAME.everface`` with ``replay.db``, ``models/`` (see :mod:`.models`) and ``lock``. One update
is one transaction: whatever happens, a later open sees the state before it or the state after it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import BudgetError, EverfaceError, UsageError, WorkspaceError
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress
from everface.engine.replay.chunk import SHA_BYTES, Item
from everface.engine.replay.codec import CodecChoice, codec, decode, encode
from everface.engine.replay.codec.rate import denser_choice
from everface.engine.replay.content import Content, load_content, reading, unseal_image
from everface.engine.replay.database import Connect, Database, connect
from everface.engine.replay.founding import DATABASE, found_workspace, minimum_budget
from everface.engine.replay.latent_code import dequantize, pack_view, quantize, unpack_view
from everface.engine.replay.ledger_share import bounded_history, bounded_seen, ledger_reserve, rebounded
from everface.engine.replay.lock import WriterLock
from everface.engine.replay.maintenance import Choose, CompactReport, evicted, recoded, without
from everface.engine.replay.models import ModelShelf
from everface.engine.replay.records import ENVELOPE, Ledger, new_envelope, open_envelope, pack_ledger
from everface.engine.replay.space import Pages
from everface.engine.replay.values import Commit, ForgetReport, Memory, NewMemory, Owner, StoreState
from everface.engine.replay.writer import Shelving, room_for_items, write_content
from everface.engine.vault import Key, ScryptCost, Seal, VaultSeal

__all__ = [
    "DATABASE", "CodecChoice", "Commit", "CompactReport", "ForgetReport", "Key", "Memory", "NewMemory", "Owner",
    "ReplayStore", "ScryptCost", "StoreState", "minimum_budget",
]  # fmt: skip


class ReplayStore:
    """An open workspace. Use :meth:`create` or :meth:`open`; it is a context manager."""

    def __init__(self, path: Path, database: Database, seal: Seal, lock: WriterLock | None) -> None:
        self._path, self._database, self._seal, self._lock = path, database, seal, lock
        self._pages = Pages(database.pragma("page_size"))
        self._loaded: Content | None = self._load()
        self._fresh: dict[tuple[str, int], tuple[bytes, int]] = {}

    # -- opening and closing

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], *, budget_bytes: int, config_json: str, key: Key | None = None,
        choice: CodecChoice | None = None, cost: ScryptCost | None = None,
    ) -> ReplayStore:  # fmt: skip
        """Makes a workspace folder and opens it for writing. It appears as a whole or not at all.

        Args:
            path: the folder, which must not exist.
            budget_bytes: cap of ``replay.db``.
            config_json: the EngineConfig.
            key: encrypts everything, model files included.
            choice: how new memories are encoded.
            cost: scrypt's work factors.

        Raises:
            WorkspaceError: the folder exists or cannot be made.
            BudgetError: the budget is below :func:`minimum_budget`.
        """
        ledger = Ledger(0, "", config_json, budget_bytes, choice if choice is not None else CodecChoice())
        found_workspace(Path(path), ledger, *new_envelope(key, cost if cost is not None else ScryptCost()))
        return cls.open(path, key=key)

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, key: Key | None = None, readonly: bool = False, connect: Connect = connect
    ) -> ReplayStore:
        """Opens a workspace, as a reader or as its only writer. ``connect`` is for tests of failing disks.

        Raises:
            WorkspaceError: it does not exist, is not one, is being written, or is from a newer version.
            IntegrityError: it is damaged.
            KeyMismatchError: it is encrypted and the key is missing or wrong.
        """
        path = Path(path)
        if not path.is_dir():
            raise WorkspaceError(str(path), expected="a workspace folder", found="none", remedy="run `everface init`")
        lock = None if readonly else WriterLock(path)
        database = None
        try:
            database = Database.open(path / DATABASE, readonly, connect)
            with reading("envelope"):
                seal = open_envelope(database.get(ENVELOPE), key)
            return cls(path, database, seal, lock)
        except BaseException:
            if database is not None:
                database.close()
            if lock is not None:
                lock.release()
            raise

    def close(self) -> None:
        """Closes the files and lets the next writer in; more than once is harmless."""
        self._database.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> ReplayStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def _content(self) -> Content:
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def _load(self) -> Content:
        with self._database.snapshot():
            return load_content(self._database, self._seal)

    # -- reading

    @property
    def seal(self) -> Seal:
        """How this workspace's bytes are sealed."""
        return self._seal

    @property
    def models(self) -> ModelShelf:
        """The workspace's model files."""
        return ModelShelf(self._path, self._seal)

    @property
    def choice(self) -> CodecChoice:
        """How new memories are encoded."""
        return self._content.ledger.choice

    @property
    def state(self) -> StoreState:
        """The workspace at a glance."""
        ledger = self._content.ledger
        size = self._pages.page_size
        pages, free = self._database.pragma("page_count"), self._database.pragma("freelist_count")
        memory = sum(item.cost(self._seal) for item in self._content.items)
        return StoreState(
            timestamps=ledger.timestamps, model=ledger.model, config_json=ledger.config_json,
            budget_bytes=ledger.budget_bytes, used_bytes=(pages - free) * size, file_bytes=pages * size,
            memory_bytes=memory, anchor_bytes=sum(len(c) for codes in self._content.anchors.values() for c in codes),
            room_bytes=max(0, self.room_for_memories() - memory), encrypted=isinstance(self._seal, VaultSeal),
            forgotten=ledger.forgotten,
        )  # fmt: skip

    def memories(self) -> tuple[Memory, ...]:
        """All kept photos, ordered by timestamp, then id."""
        items = sorted(self._content.items, key=lambda item: (item.timestamp, item.id))
        return tuple(
            Memory(
                id=item.id, timestamp=item.timestamp, codec=codec_name(item.codec), resolution=item.resolution,
                bytes=item.cost(self._seal), w=_decoded(item), spread=item.spread, loss=item.loss, dhash=item.dhash,
                source_sha256=item.sha.hex(), reason=item.reason, view=unpack_view(item.view),
            )
            for item in items
        )  # fmt: skip

    def read_images(self, ids: Sequence[str]) -> list[NDArray[np.uint8]]:
        """The images [R, R, 3] of memories, in the order asked for.

        Raises:
            UsageError: no such memory.
            IntegrityError: an image is damaged.
        """
        by_id = self._content.by_id
        images = []
        for one in ids:
            item = self._item(by_id, one)
            images.append(decode(unseal_image(self._database, item, self._seal), item.codec, item.resolution))
        return images

    def anchors(self) -> list[tuple[int, NDArray[np.float32]]]:
        """(timestamp, W codes [n, d]) of all timestamps that have any: of memories and of photos without image."""
        rows: dict[int, list[bytes]] = {one: list(codes) for one, codes in self._content.anchors.items()}
        for item in sorted(self._content.items, key=lambda item: item.id):
            rows.setdefault(item.timestamp, []).append(item.code)
        return [(one, dequantize(rows[one], len(rows[one][0]) - 4)) for one in sorted(rows)]

    def history(self) -> tuple[dict[str, Any], ...]:
        """Summaries of the updates, oldest first; the earliest may have been dropped."""
        return tuple(dict(entry) for entry in self._content.ledger.history)

    def seen(self) -> tuple[tuple[str, int], ...]:
        """(first 16 hexadecimal digits of the SHA-256, dhash) of photos seen so far, the earliest may be dropped."""
        kept = {(item.sha, item.dhash) for item in self._content.items}
        others = [one for one in self._content.ledger.seen if one not in kept]
        return tuple((sha.hex(), dhash) for sha, dhash in (*others, *sorted(kept)))

    def owner(self) -> Owner | None:
        """The enrolled person, None before the first update."""
        return self._content.ledger.owner

    # -- sizes

    def cost(self, new: Sequence[NewMemory]) -> tuple[int, ...]:
        """Bytes that each new memory would take; comparable to :attr:`Memory.bytes`."""
        return tuple(item.cost(self._seal) for item in self._items(new))

    def room_for_memories(self) -> int:
        """Bytes that memories, old and new, may take after the next commit; anchors without image make way."""
        return self._room(self._content.ledger.budget_bytes)

    # -- writing

    def commit(self, commit: Commit) -> None:
        """Writes one update in one transaction.

        Raises:
            BudgetError: it does not fit; nothing was changed.
            UsageError: unknown ids, a wrong timestamp, or values out of range.
            WorkspaceError: opened read-only, or the disk is full; nothing was changed.
        """
        self._require_writer()
        self._write(self._after(commit))
        self._fresh.clear()

    def set_budget(self, budget_bytes: int, choose: Choose, *, choice: CodecChoice | None = None) -> tuple[str, ...]:
        """Raises or lowers the budget in one transaction; returns the ids of memories that had to go.

        Args:
            budget_bytes: the new cap of ``replay.db``.
            choose: given the pool of memories and the bytes for them, returns the indices of those to keep.
            choice: encode new memories in this way from now on, and the old ones where that takes fewer bytes.

        Raises:
            BudgetError: below the minimum; nothing was changed.
        """
        self._require_writer()
        content = self._content
        least = minimum_budget(content.ledger.config_json, self._pages.page_size)
        if budget_bytes < least:
            raise BudgetError("budget", expected=f"at least {least} bytes", found=f"{budget_bytes}")
        if choice is not None:
            items = tuple(recoded(one, self._image(one), choice) for one in content.items)
            content = replace(content, ledger=replace(content.ledger, choice=choice), items=items)
        new = evicted(content, budget_bytes, self._room(budget_bytes), choose, self._seal)
        before = {item.id for item in content.items}
        self._write(new)
        return tuple(sorted(before - {item.id for item in self._content.items}))

    def forget(self, id: str) -> ForgetReport:
        """Removes a photo, its W code and every copy, and zeroes their bytes on the disk.

        Raises:
            UsageError: no such memory.
        """
        self._require_writer()
        item = self._item(self._content.by_id, id)
        new, report = without(self._content, item)
        self._write(new)
        return report

    def compact(
        self, on_progress: OnProgress = ignore_progress, *, choice: CodecChoice | None = None, group: int = 64
    ) -> CompactReport:
        """Encodes memories more densely, one group a transaction, then shortens the file. Made for idle time.

        Args:
            on_progress: told after each group.
            choice: the codec, by default the densest at about the error of the capture (:func:`.rate.denser_choice`);
                memories that have that codec already are left alone.
            group: memories in one transaction; a killed compact loses at most one group's work.
        """
        self._require_writer()
        if choice is None:
            side = max((item.resolution for item in self._content.items), default=0)
            choice = denser_choice(side, self.choice)
        number = codec(choice.name).number
        todo = [item.id for item in self._content.items if item.codec != number]
        before, transcoded = sum(item.cost(self._seal) for item in self._content.items), 0
        reporter = ProgressReporter("compact", len(todo), on_progress)
        for start in range(0, len(todo), group):
            ids = set(todo[start : start + group])
            items = tuple(
                recoded(one, self._image(one), choice) if one.id in ids else one for one in self._content.items
            )
            changed = sum(one.place is None for one in items)
            if changed:
                self._write(replace(self._content, items=items))
                transcoded += changed
            reporter.advance(len(ids))
        with self._database.transaction():
            self._database.trim()
        after = sum(item.cost(self._seal) for item in self._content.items)
        return CompactReport(transcoded, len(todo), before, after, self.state.file_bytes)

    def _image(self, item: Item) -> bytes:
        return unseal_image(self._database, item, self._seal)

    def _write(self, new: Content) -> None:
        old = self._content
        # After a failure only the file knows whether the transaction was done, so it is read again when needed.
        self._loaded = None
        try:
            self._loaded = write_content(Shelving(self._database, self._pages, self._seal), old, new)
        except BudgetError:
            self._loaded = old
            raise

    def _room(self, budget_bytes: int) -> int:
        ledger = rebounded(replace(self._content.ledger, budget_bytes=budget_bytes))
        size = len(pack_ledger(replace(ledger, marks={}), (), self._seal)) + ledger_reserve(budget_bytes, ledger)
        return room_for_items(self._pages, budget_bytes, size, self._seal)

    def _after(self, commit: Commit) -> Content:
        content, ledger = self._content, self._content.ledger
        if commit.timestamp != ledger.timestamps:
            raise UsageError("commit.timestamp", expected=str(ledger.timestamps), found=str(commit.timestamp))
        by_id = content.by_id
        kept = [self._item(by_id, one) for one in commit.keep]
        items = [replace(item, loss=commit.losses.get(item.id, item.loss)) for item in kept]
        items += self._items(commit.add)
        if len({item.id for item in items}) != len(items):
            raise UsageError("commit", expected="each photo once", found="one twice", remedy="drop duplicates")
        ledger = replace(
            ledger, timestamps=ledger.timestamps + 1, model=commit.model,
            owner=commit.owner if commit.owner is not None else ledger.owner,
            losses={item.id: item.loss for item in items}, forgotten=() if commit.retuned else ledger.forgotten,
        )  # fmt: skip
        ledger = bounded_history(ledger, dict(commit.history))
        before = [(item.sha, item.dhash) for item in content.items]
        new = [(_short(sha), dhash) for sha, dhash in commit.seen]
        ledger = bounded_seen(ledger, [*before, *new], {(item.sha, item.dhash) for item in items})
        return Content(ledger, tuple(items), self._anchors_after(commit, items))

    def _anchors_after(self, commit: Commit, items: Sequence[Item]) -> dict[int, tuple[bytes, ...]]:
        """Old anchors, those of evicted memories, and the new ones; never one that a memory has."""
        rows = {one: list(codes) for one, codes in self._content.anchors.items()}
        for item in self._content.items:
            rows.setdefault(item.timestamp, []).append(item.code)
        if commit.anchors is not None:
            rows.setdefault(commit.timestamp, []).extend(quantize(np.asarray(commit.anchors, np.float32)))
        with_image = {(item.timestamp, item.code) for item in items}
        left = {
            one: tuple(dict.fromkeys(code for code in codes if (one, code) not in with_image))
            for one, codes in rows.items()
        }
        return {one: codes for one, codes in left.items() if codes}

    def _items(self, new: Sequence[NewMemory]) -> list[Item]:
        if not new:
            return []
        choice = self.choice
        codes = quantize(np.stack([np.asarray(one.w, np.float32) for one in new]))
        items = []
        for one, code in zip(new, codes, strict=True):
            name = (one.sha256, one.timestamp)
            if name not in self._fresh:
                self._fresh[name] = encode(one.image, choice)
            image, resolution = self._fresh[name]
            items.append(
                Item(
                    timestamp=one.timestamp, codec=codec(choice.name).number, resolution=resolution,
                    spread=float(np.float32(one.spread)), dhash=_hash64(one.dhash), sha=_short(one.sha256),
                    reason=one.reason[:200], code=code, view=pack_view(one.view), loss=float(one.loss),
                    image=image, image_bytes=len(image),
                )
            )  # fmt: skip
        return items

    def _item(self, by_id: dict[str, Item], one: str) -> Item:
        try:
            return by_id[one]
        except KeyError:
            raise UsageError(
                f"memory {one}", expected="an id that `everface status` lists", found="none such",
                remedy="choose one of those",
            ) from None  # fmt: skip

    def _require_writer(self) -> None:
        if self._lock is None:
            raise WorkspaceError(str(self._path), expected="opened for writing", found="opened read-only")


def codec_name(number: int) -> str:
    """Name of a stored codec number; one that is not installed here has its number."""
    try:
        return codec(number).name
    except EverfaceError:
        return f"codec {number}"


def _decoded(item: Item) -> NDArray[np.float32]:
    row: NDArray[np.float32] = dequantize([item.code], len(item.code) - 4)[0]
    return row


def _short(sha256: str) -> bytes:
    try:
        return bytes.fromhex(sha256)[:SHA_BYTES].ljust(SHA_BYTES, b"\0")
    except ValueError:
        raise UsageError("sha256", expected="hexadecimal digits", found=repr(sha256)) from None


def _hash64(value: int) -> int:
    if not 0 <= value < 1 << 64:
        raise UsageError("dhash", expected="64 bits", found=str(value))
    return value
