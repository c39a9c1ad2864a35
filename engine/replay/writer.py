"""From one content to the next in one transaction: which chunks stay, how the rest is packed, what makes room."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from everface.engine.errors import BudgetError
from everface.engine.replay.chunk import HEAD_PREFIX, Item, Place, pack_chunk, pack_head
from everface.engine.replay.content import Content, pack_anchors, unseal_image
from everface.engine.replay.database import Database
from everface.engine.replay.records import FIRST_RECORD, LEDGER, MARK_BYTES, pack_ledger
from everface.engine.replay.space import Pages
from everface.engine.vault import NONCE_BYTES, Seal

__all__ = ["ENVELOPE_BYTES", "Shelving", "page_need", "room_for_items", "write_content"]

ENVELOPE_BYTES = 256
# Bytes of a chunk that belong to no item: its lengths, JSON keys and compression headers.
_CHUNK_BYTES = 120
_MARK_COST = 14


@dataclass(frozen=True)
class Shelving:
    """Where records go: the database, its pages, and the seal."""

    database: Database
    pages: Pages
    seal: Seal


def page_need(pages: Pages, chunks: Sequence[int], others: Sequence[int], most: int) -> int:
    """Pages of a file with padded chunks and other records of the given lengths; an upper estimate."""
    overflow = sum(pages.overflow(length) for length in (*chunks, *others))
    padded = sum(pages.padding(length) == 0 for length in chunks)
    return overflow + pages.table(padded, len(others) + len(chunks) - padded) + pages.fixed(most)


def room_for_items(pages: Pages, budget_bytes: int, ledger_bytes: int, seal: Seal) -> int:
    """Bytes of items (:meth:`Item.cost`) that surely fit beside a ledger of the given length."""
    most = budget_bytes // pages.page_size
    chunks = 0
    for _ in range(3):  # the number of chunks and the room for them depend on each other
        ledger = ledger_bytes + _MARK_COST * chunks
        left = most - page_need(pages, [], [ledger, ENVELOPE_BYTES], most) - pages.table(chunks, 0)
        chunks = max(1, -(-left * pages.overflow_bytes // pages.chunk_target) + 1)
    # Padding is a fraction of a page where there is a choice of where to end a chunk, and a page at the last one.
    lost = chunks * (_CHUNK_BYTES + seal.overhead + pages.overflow_bytes // 4) + pages.overflow_bytes // 2
    return max(0, left * pages.overflow_bytes - lost)


def write_content(shelf: Shelving, old: Content, new: Content) -> Content:
    """Replaces ``old`` by ``new`` in one transaction; returns what is stored, which may have fewer anchors.

    Raises:
        BudgetError: it does not fit; nothing was changed.
    """
    problem: BudgetError | None = None
    for dense, anchored in ((False, True), (False, False), (True, False)):
        plan = _plan(shelf, old, new, dense)
        if anchored:
            plan = _fit_anchors(shelf, plan, new)
        elif not new.anchors and not dense and problem is None:
            continue
        try:
            return _execute(shelf, old, new, plan)
        except BudgetError as error:
            problem = error
    raise BudgetError(
        "memories", expected=f"records within {new.ledger.budget_bytes} bytes",
        found=f"{len(new.items)} memories that need more", remedy="keep fewer photos or raise the budget",
    ) from problem  # fmt: skip


@dataclass(frozen=True)
class _Plan:
    items: tuple[Item, ...]  # as they will be stored, ordered by place
    chunks: Mapping[int, bytes]  # records to write
    lengths: Mapping[int, int]  # length of every chunk that will be there
    marks: Mapping[int, bytes]
    anchors: Mapping[int, tuple[bytes, ...]]


def _plan(shelf: Shelving, old: Content, new: Content, dense: bool) -> _Plan:
    stays, loose = _split(shelf, old, new, dense)
    chunks: dict[int, bytes] = {}
    marks = {record: old.ledger.marks[record] for record in stays}
    lengths = {record: _length(items) for record, items in stays.items()}
    placed_items = [item for record in sorted(stays) for item in stays[record]]
    numbers = (record for record in itertools.count(FIRST_RECORD, 2) if record not in stays)
    for group in _groups(shelf, FIRST_RECORD, loose):
        record = next(numbers)
        images = [unseal_image(shelf.database, item, shelf.seal) for item in group]
        data, head = pack_chunk(record, group, images, shelf.seal)
        pad = shelf.pages.padding(len(data))
        # A chunk whose end could not be chosen may lie badly: then its stub in the leaf costs less than the padding.
        chunks[record] = data + bytes(pad if pad <= shelf.pages.page_size // 4 else 0)
        marks[record] = head[-MARK_BYTES:]
        lengths[record] = len(chunks[record])
        at = HEAD_PREFIX + len(head)
        for index, (item, image) in enumerate(zip(group, images, strict=True)):
            size = len(image) + shelf.seal.part_overhead
            place = Place(record, index, at, size, head[:NONCE_BYTES])
            placed_items.append(replace(item, place=place, image=None, image_bytes=len(image)))
            at += size
    placed_items.sort(key=lambda item: (item.place.record, item.place.index) if item.place else (0, 0))
    return _Plan(tuple(placed_items), chunks, lengths, marks, {})


def _split(
    shelf: Shelving, old: Content, new: Content, dense: bool
) -> tuple[dict[int, tuple[Item, ...]], tuple[Item, ...]]:
    """Chunks that can stay as they are, and the items that must be packed."""
    before: dict[int, int] = {}
    for item in old.items:
        if item.place is not None:
            before[item.place.record] = before.get(item.place.record, 0) + 1
    after: dict[int, list[Item]] = {}
    loose: list[Item] = []
    for item in new.items:
        if item.place is None:
            loose.append(item)
        else:
            after.setdefault(item.place.record, []).append(item)
    stays: dict[int, tuple[Item, ...]] = {}
    small: list[int] = []
    for record, items in sorted(after.items()):
        if len(items) < before[record] or dense:
            loose += items
        else:
            stays[record] = tuple(sorted(items, key=lambda one: one.place.index if one.place else 0))
            if _length(items) < shelf.pages.chunk_target * 3 // 4:
                small.append(record)
    # Small chunks are packed anew with whatever has to be packed, so that at most one small chunk remains.
    for record in small if loose or len(small) > 1 else []:
        loose += stays.pop(record)
    return stays, tuple(sorted(loose, key=lambda one: (one.timestamp, one.id)))


def _length(items: Sequence[Item]) -> int:
    return max((item.place.offset + item.place.length for item in items if item.place is not None), default=0)


def _groups(shelf: Shelving, record: int, items: Sequence[Item]) -> Iterator[tuple[Item, ...]]:
    """Cuts items into chunks near the target size, ending each where the padding is least."""
    start, target = 0, shelf.pages.chunk_target
    while start < len(items):
        ends: list[int] = []
        size = 0
        for end in range(start, len(items)):
            size += items[end].cost(shelf.seal)
            if size > target and ends:
                break
            if size > target * 3 // 4 or end == len(items) - 1 or items[end].cost(shelf.seal) > target:
                ends.append(end + 1)
        best = min(ends[-12:], key=lambda end: (_waste(shelf, record, items[start:end]), -end))
        if ends[-1] == len(items) and size <= target:
            best = len(items)
        yield tuple(items[start:best])
        start = best


def _waste(shelf: Shelving, record: int, items: Sequence[Item]) -> int:
    lengths = [item.image_bytes + shelf.seal.part_overhead for item in items]
    head = len(pack_head(record, items, lengths, shelf.seal))
    return shelf.pages.padding(HEAD_PREFIX + head + sum(lengths))


def _fit_anchors(shelf: Shelving, plan: _Plan, new: Content) -> _Plan:
    """Adds anchors without image, newest timestamps first, while the estimate stays within the budget."""
    most = new.ledger.budget_bytes // shelf.pages.page_size
    ledger = len(_pack_ledger(shelf, plan, new)) + _MARK_COST * (len(new.anchors) + 2)
    fitted: dict[int, tuple[bytes, ...]] = {}
    others = [ledger, ENVELOPE_BYTES]
    for timestamp in sorted(new.anchors, reverse=True):
        codes = new.anchors[timestamp]
        while codes:
            length = 8 + sum(map(len, codes)) + shelf.seal.overhead
            if page_need(shelf.pages, list(plan.lengths.values()), [*others, length], most) <= most:
                fitted[timestamp] = codes
                others.append(length)
                break
            codes = codes[:-1]
    return replace(plan, anchors=fitted)


def _pack_ledger(shelf: Shelving, plan: _Plan, new: Content) -> bytes:
    ledger = replace(new.ledger, marks=plan.marks)
    return pack_ledger(ledger, tuple(item.id for item in plan.items), shelf.seal)


def _shelves(old: Content, plan: _Plan) -> dict[int, int]:
    """A record for every timestamp with anchors: the one that it had, or the lowest free odd number."""
    shelves = {one: record for one, record in old.shelves.items() if one in plan.anchors}
    free = (record for record in itertools.count(FIRST_RECORD + 1, 2) if record not in old.shelves.values())
    return shelves | {one: next(free) for one in sorted(plan.anchors) if one not in shelves}


def _execute(shelf: Shelving, old: Content, new: Content, plan: _Plan) -> Content:
    database = shelf.database
    most = new.ledger.budget_bytes // shelf.pages.page_size
    shelves = _shelves(old, plan)
    anchors = {
        shelves[timestamp]: pack_anchors(shelves[timestamp], timestamp, codes, shelf.seal)
        for timestamp, codes in plan.anchors.items()
        if codes != old.anchors.get(timestamp)
    }
    marks = {record: old.ledger.marks[record] for record in set(shelves.values()) - set(anchors)} | dict(plan.marks)
    marks |= {record: data[-MARK_BYTES:] for record, data in anchors.items()}
    gone = set(old.ledger.marks) - set(marks)
    empty = tuple(sorted((set(old.ledger.empty) | gone) - set(marks)))
    version = database.sqlite_version()
    new = replace(new, ledger=replace(new.ledger, marks=marks, empty=empty, sqlite_version=version))
    plan = replace(plan, marks=marks)
    with database.transaction():
        # All that goes or changes is emptied first: otherwise the file grows by pages that it then does not need.
        for record in sorted({*gone, *anchors, *plan.chunks, LEDGER}):
            database.put(record, b"")
        for record, data in (*anchors.items(), *plan.chunks.items()):
            database.put(record, data)
        database.put(LEDGER, _pack_ledger(shelf, plan, new))
        if new.ledger.budget_bytes < old.ledger.budget_bytes:
            database.trim()
        if database.pragma("page_count") > most:
            # Nothing has reached the file yet: pages are only written at the commit that this prevents.
            raise BudgetError(str(database.path), expected=f"at most {most} pages", found="more")
    return Content(new.ledger, plan.items, dict(plan.anchors), shelves)
