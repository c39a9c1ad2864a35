"""The content of a store as values: read from the database in one snapshot, and planned anew for each commit."""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from everface.engine.errors import IntegrityError, UsageError
from everface.engine.replay.chunk import HEAD_PREFIX, Item, image_name, read_head
from everface.engine.replay.database import Database
from everface.engine.replay.records import (
    ENVELOPE,
    LEDGER,
    MARK_BYTES,
    Ledger,
    is_chunk,
    read_ledger,
)
from everface.engine.vault import Seal

__all__ = ["Content", "load_content", "pack_anchors", "read_anchors", "reading", "require_records", "unseal_image"]


@dataclass(frozen=True)
class Content:
    """Everything that a store holds.

    Attributes:
        ledger: the counters, history and marks.
        items: the memories, ordered by place.
        anchors: timestamp to the W codes of photos without an image.
        shelves: timestamp to the record of its anchors, once they are stored.
    """

    ledger: Ledger
    items: tuple[Item, ...] = ()
    anchors: Mapping[int, tuple[bytes, ...]] = field(default_factory=dict)
    shelves: Mapping[int, int] = field(default_factory=dict)

    @cached_property
    def by_id(self) -> dict[str, Item]:
        """The memories by id."""
        return {item.id: item for item in self.items}


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Any way in which stored bytes cannot be understood is an IntegrityError."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, struct.error, zlib.error, OverflowError) as error:
        if isinstance(error, UsageError):
            raise IntegrityError(what, expected="values in range", found=str(error)) from error
        raise IntegrityError(
            what, expected="what a store writes", found=f"{type(error).__name__}: {error}",
            remedy="restore replay.db from a copy of the workspace",
        ) from error  # fmt: skip


def load_content(database: Database, seal: Seal) -> Content:
    """Reads all but the images.

    Raises:
        IntegrityError: a record is damaged, missing, or not the one that the ledger names.
    """
    with reading("ledger"):
        ledger, losses = read_ledger(database.get(LEDGER), seal)
    stored = set(database.ids()) - {ENVELOPE, LEDGER}
    require_records(stored, set(ledger.marks))
    items: list[Item] = []
    anchors: dict[int, tuple[bytes, ...]] = {}
    shelves: dict[int, int] = {}
    for record in sorted(stored):
        with reading(f"record {record}"):
            if is_chunk(record):
                head = _read_head(database, record)
                _require_mark(record, head, ledger)
                items += read_head(record, head, seal)
            else:
                data = database.get(record)
                _require_mark(record, data, ledger)
                timestamp, codes = read_anchors(record, data, seal)
                anchors[timestamp], shelves[timestamp] = codes, record
    if len(losses) != len(items) or len({item.id for item in items}) != len(items):
        raise IntegrityError("ledger", expected=f"a loss for each of {len(items)} memories", found=f"{len(losses)}")
    items = [replace(item, loss=loss) for item, loss in zip(items, losses, strict=True)]
    return Content(replace(ledger, losses={item.id: item.loss for item in items}), tuple(items), anchors, shelves)


def require_records(stored: set[int], named: set[int]) -> None:
    """Raises IntegrityError unless the records are those that the ledger names."""
    if stored != named:
        raise IntegrityError(
            "replay.db", expected="the records that its ledger names",
            found=f"{len(named - stored)} missing and {len(stored - named)} unknown",
            remedy="restore replay.db from a copy of the workspace",
        )  # fmt: skip


def _read_head(database: Database, record: int) -> bytes:
    (length,) = struct.unpack("<I", database.read(record, 0, HEAD_PREFIX))
    return database.read(record, HEAD_PREFIX, length)


def _require_mark(record: int, sealed: bytes, ledger: Ledger) -> None:
    if sealed[-MARK_BYTES:] != ledger.marks[record]:
        raise ValueError("another version than the ledger names")


def unseal_image(database: Database, item: Item, seal: Seal) -> bytes:
    """The encoded image of a stored item.

    Raises:
        IntegrityError: it is damaged.
    """
    place = item.place
    if place is None:
        if item.image is None:
            raise IntegrityError(f"memory {item.id}", expected="an image", found="none")
        return item.image
    with reading(f"memory {item.id}"):
        stored = database.read(place.record, place.offset, place.length)
        return seal.unseal_part(stored, image_name(place.record, place.index), place.nonce, place.index)


def pack_anchors(record: int, timestamp: int, codes: Sequence[bytes], seal: Seal) -> bytes:
    """Seals W codes without images."""
    return seal.seal(struct.pack("<II", timestamp, len(codes)) + b"".join(codes), b"anchors:%d" % record)


def read_anchors(record: int, data: bytes, seal: Seal) -> tuple[int, tuple[bytes, ...]]:
    """Opens what :func:`pack_anchors` made: the timestamp and its codes."""
    plain = seal.unseal(data, b"anchors:%d" % record)
    timestamp, count = struct.unpack_from("<II", plain)
    size, rest = divmod(len(plain) - 8, max(1, count))
    if rest or count < 1:
        raise ValueError("anchors of unequal length")
    return timestamp, tuple(plain[8 + i * size : 8 + (i + 1) * size] for i in range(count))
