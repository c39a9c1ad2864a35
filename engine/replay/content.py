"""What a store holds, as values: a ledger, and tables with a row a memory, a row an anchor, a row a photo seen.

A change makes another content of one (``.changes``). Codes and images stay in the body of the file that was read; a
row says where, or which of the ``fresh`` bytes are its own, which no file has yet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError
from everface.engine.replay.body import Body, Piece
from everface.engine.replay.codec import codec_label, decode
from everface.engine.replay.codec.latent import dequantize
from everface.engine.replay.values import Ledger, Memory

Table = NDArray[np.void]
SEEN = np.dtype([("sha256", "u1", 8), ("dhash", "<u8")])
ANCHOR = np.dtype([("timestamp", "<u4"), ("scale", "<f2", 2), ("code", "<i8")])
_PLACES = ("code", "image")  # in memory only: an offset in the body, or ~index into fresh


def row_type(view: int = 0, embedding: int = 0) -> np.dtype[np.void]:
    """The columns of a memory; ``view`` and ``embedding`` take so many numbers, or none."""
    kinds: list[Any] = [
        ("timestamp", "<u4"), ("length", "<u4"), ("spread", "<f4"), ("resolution", "<u2"), ("loss", "<f2"),
        ("reason", "<u2"), ("scale", "<f2", 2), ("codec", "u1"), ("view", "<f2", (view,)),
        ("embedding", "<f2", (embedding,)), *SEEN.descr, ("code", "<i8"), ("image", "<i8"),
    ]  # fmt: skip
    return np.dtype(kinds)


def columns(kind: np.dtype[np.void]) -> list[str]:
    """The columns that are stored."""
    return [name for name in kind.names or () if name not in _PLACES]


def stored_bytes(kind: np.dtype[np.void]) -> int:
    """Bytes that a row takes in the file's columns."""
    return sum(kind[name].itemsize for name in columns(kind))


def moved(table: Table, kind: np.dtype[np.void]) -> Table:
    """The columns of a table that another kind of table has too."""
    return table[list(kind.names or ())].astype(kind)


@dataclass(frozen=True, eq=False)
class Content:
    """Everything that a store holds.

    Attributes:
        ledger: what there is once.
        rows: [n] of ``row_type``, the memories.
        anchors: [m] of ``ANCHOR``, W codes of photos that have no memory, oldest timestamp first.
        seen: [s] of ``SEEN``, photos that have no memory, oldest first.
        dimension: levels of a W code, 0 where there is none yet.
        fresh: codes and images that are in no file yet.
        body: of the file that was read.
        sealed: whether the file is encrypted.
    """

    ledger: Ledger
    rows: Table = field(default_factory=lambda: np.zeros(0, row_type()))
    anchors: Table = field(default_factory=lambda: np.zeros(0, ANCHOR))
    seen: Table = field(default_factory=lambda: np.zeros(0, SEEN))
    dimension: int = 0
    fresh: tuple[bytes, ...] = ()
    body: Body = field(default_factory=Body)
    sealed: bool = False

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The id of each row: 12 hexadecimal digits from the photo's hash and the timestamp."""
        stamps, shas = self.rows["timestamp"].astype("<u4"), self.rows["sha256"]
        keys = (sha.tobytes() + stamp.tobytes() for sha, stamp in zip(shas, stamps, strict=True))
        return tuple(hashlib.blake2b(key, digest_size=6).hexdigest() for key in keys)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {id: row for row, id in enumerate(self.ids)}

    def rows_of(self, ids: Iterable[str]) -> list[int]:
        """The rows of memories; UsageError where there is no such one."""
        for id in (ids := list(ids)):
            if id not in self._row_of:
                expected, remedy = "an id that `everface status` lists", "choose one of those"
                raise UsageError(f"memory {id}", expected=expected, found="none such", remedy=remedy)
        return [self._row_of[id] for id in ids]

    @property
    def costs(self) -> NDArray[np.int64]:
        """[n] bytes that memories take: image, W code and columns."""
        return self.rows["length"].astype(np.int64) + (self.dimension + stored_bytes(self.rows.dtype))

    @property
    def code_bytes(self) -> int:
        """Bytes of all codes, which are the beginning of the body."""
        return (len(self.rows) + len(self.anchors)) * self.dimension

    @property
    def image_offsets(self) -> NDArray[np.int64]:
        """[n + 1] where the images lie among the images, once they are written, and where the last ends."""
        return np.concatenate([[0], np.cumsum(self.rows["length"], dtype=np.int64)])

    @property
    def body_bytes(self) -> int:
        """Bytes of all codes and images."""
        return self.code_bytes + int(self.rows["length"].sum(dtype=np.int64))

    def written(self) -> Iterator[bytes]:
        """The body of the file that this content will have: W codes of memories and anchors, then images."""
        places = np.concatenate([self.rows["code"], self.anchors["code"]])
        yield from self.body.read(self._piece(place, self.dimension) for place in places.tolist())
        yield from self.images(range(len(self.rows)))

    def images(self, rows: Iterable[int]) -> Iterator[bytes]:
        """The encoded images of memories, in order."""
        return self.body.read(self._piece(int(self.rows["image"][i]), int(self.rows["length"][i])) for i in rows)

    def pictures(self, ids: Iterable[str]) -> list[NDArray[np.uint8]]:
        """The images [R, R, 3] of memories."""
        rows = self.rows_of(ids)
        images = dict(zip(sorted(set(rows)), self.images(sorted(set(rows))), strict=True))
        return [decode(images[i], int(self.rows["codec"][i]), int(self.rows["resolution"][i])) for i in rows]

    def _piece(self, place: int, size: int) -> Piece:
        return self.fresh[~place] if place < 0 else (place, place + size)

    def codes(self) -> NDArray[np.float32]:
        """[n + m, d] W codes of memories, then anchors, of a content as it was read."""
        levels = np.frombuffer(b"".join(self.body.read([(0, self.code_bytes)])), np.uint8)
        scale = np.concatenate([self.rows["scale"], self.anchors["scale"]])
        return dequantize(scale, levels.reshape(len(scale), self.dimension))

    def memories(self) -> tuple[Memory, ...]:
        """The memories of a content as it was read, ordered by timestamp, then id."""
        rows, reasons = self.rows, self.ledger.reasons
        vectors = {name: rows[name].astype(np.float32) for name in ("view", "embedding")}
        values = {name: rows[name].tolist() for name in ("timestamp", "resolution", "spread", "loss", "dhash")}
        values |= {"id": self.ids, "bytes": self.costs.tolist(), **vectors}
        values["source_sha256"] = [sha.tobytes().hex() for sha in rows["sha256"]]
        values["codec"] = [codec_label(number) for number in rows["codec"].tolist()]
        values["reason"] = [reasons[number] for number in rows["reason"].tolist()]
        values["w"] = self.codes()[: len(rows)]
        memories = (Memory(**dict(zip(values, row, strict=True))) for row in zip(*values.values(), strict=True))
        return tuple(sorted(memories, key=lambda memory: (memory.timestamp, memory.id)))
