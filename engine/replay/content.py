"""What a store holds, as values: a ledger, and tables with a row a memory, a row an anchor, a row a photo seen.

The tables do not hold codes and images, which lie in the file's body; a row says which ones are its own by their place
in the body of the file before, or among ``fresh`` bytes that no file has yet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.engine.replay.values import Ledger

Table = NDArray[np.void]
SEEN = np.dtype([("sha256", "u1", 8), ("dhash", "<u8")])
ANCHOR = np.dtype([("timestamp", "<u4"), ("scale", "<f2", 2), ("code", "<i8")])
_SOURCES = ("code", "image")  # in memory only: a row of the file before, or ~index into fresh


def row_type(view: int = 0, embedding: int = 0) -> np.dtype[np.void]:
    """The columns of a memory; ``view`` and ``embedding`` numbers where there are any."""
    kinds: list[Any] = [
        ("timestamp", "<u4"), ("length", "<u4"), ("spread", "<f4"), ("resolution", "<u2"), ("loss", "<f2"),
        ("reason", "<u2"), ("scale", "<f2", 2), ("codec", "u1"),
    ]  # fmt: skip
    kinds += [(name, "<f2", (count,)) for name, count in (("view", view), ("embedding", embedding)) if count]
    return np.dtype([*kinds, *SEEN.descr, ("code", "<i8"), ("image", "<i8")])


def columns(kind: np.dtype[np.void]) -> list[str]:
    """The columns that are stored."""
    return [name for name in kind.names or () if name not in _SOURCES]


def stored_bytes(kind: np.dtype[np.void]) -> int:
    """Bytes that a row takes in the file's columns."""
    return sum(kind[name].itemsize for name in columns(kind))


def moved(table: Table, kind: np.dtype[np.void]) -> Table:
    """The columns of a table that another kind of table has too."""
    other = np.zeros(len(table), kind)
    for name in kind.names or ():
        other[name] = table[name]
    return other


@dataclass(frozen=True, eq=False)
class Content:
    """Everything that a store holds, but codes and images.

    Attributes:
        ledger: what there is once.
        rows: [n] of ``row_type``, the memories.
        anchors: [m] of ``ANCHOR``, W codes of photos that have no memory, oldest timestamp first.
        seen: [s] of ``SEEN``, photos that have no memory, oldest first.
        dimension: levels of a W code, 0 where there is none yet.
        fresh: codes and images that are in no file yet.
    """

    ledger: Ledger
    rows: Table = field(default_factory=lambda: np.zeros(0, row_type()))
    anchors: Table = field(default_factory=lambda: np.zeros(0, ANCHOR))
    seen: Table = field(default_factory=lambda: np.zeros(0, SEEN))
    dimension: int = 0
    fresh: tuple[bytes, ...] = ()

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each id, which is 12 hexadecimal digits from the photo's hash and the timestamp."""
        stamps, shas = self.rows["timestamp"].astype("<u4"), self.rows["sha256"]
        keys = (sha.tobytes() + stamp.tobytes() for sha, stamp in zip(shas, stamps, strict=True))
        return {hashlib.blake2b(key, digest_size=6).hexdigest(): row for row, key in enumerate(keys)}

    @property
    def ids(self) -> tuple[str, ...]:
        """The id of each row."""
        return tuple(self.row_of)

    @property
    def code_bytes(self) -> int:
        """Bytes of all codes, which are the beginning of the body."""
        return (len(self.rows) + len(self.anchors)) * self.dimension

    @cached_property
    def image_offsets(self) -> NDArray[np.int64]:
        """[n + 1] where the images lie in the body, once it is written, and where the last ends."""
        return self.code_bytes + np.concatenate([[0], np.cumsum(self.rows["length"], dtype=np.int64)])

    @property
    def body_bytes(self) -> int:
        """Bytes of all codes and images."""
        return int(self.image_offsets[-1])


def body_pieces(new: Content, old: Content, read: Callable[[int, int], bytes]) -> Iterator[bytes]:
    """The body of ``new`` in order: fresh bytes, and what ``read`` gives from one offset of ``old``'s to another."""
    for source in np.concatenate([new.rows["code"], new.anchors["code"]]).tolist():
        yield new.fresh[~source] if source < 0 else read(source * new.dimension, (source + 1) * new.dimension)
    offsets = old.image_offsets.tolist()
    for source in new.rows["image"].tolist():
        yield new.fresh[~source] if source < 0 else read(offsets[source], offsets[source + 1])
