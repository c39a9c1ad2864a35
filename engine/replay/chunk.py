"""A chunk: one record that holds the images of several memories, with their W codes and index rows in its head.

Layout: length of the sealed head (4 bytes), sealed head, sealed images one after another, zero padding. The head is
the JSON of the few distinct values and the columns of the rest, compressed, followed by the W codes and, where memories
have them, their views.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from everface.engine.errors import UsageError
from everface.engine.replay.latent_code import code_bytes
from everface.engine.vault import NONCE_BYTES, Seal

__all__ = [
    "HEAD_PREFIX",
    "INDEX_BYTES",
    "Item",
    "Place",
    "head_name",
    "image_name",
    "pack_chunk",
    "pack_head",
    "read_head",
]

HEAD_PREFIX = 4
# Columns of a row take at most 31 bytes before compression, and loss is kept elsewhere in 2.
INDEX_BYTES = 34
SHA_BYTES = 8
_MOST_HEAD = 1 << 26
_COLUMNS = (("<u4", "timestamp"), ("u1", "codec"), ("<u2", "resolution"), ("<u4", "length"), ("<f4", "spread"),
            ("<u8", "dhash"), ("S8", "sha"))  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where an image lies: record, index in the chunk, offset in the record, sealed length, the chunk's nonce."""

    record: int
    index: int
    offset: int
    length: int
    nonce: bytes


@dataclass(frozen=True)
class Item:
    """A memory inside the store: all but its pixels, which lie at ``place`` or, not yet written, in ``image``."""

    timestamp: int
    codec: int
    resolution: int
    spread: float
    dhash: int
    sha: bytes
    reason: str
    code: bytes
    view: bytes = b""
    loss: float = float("nan")
    place: Place | None = None
    image: bytes | None = None
    image_bytes: int = 0

    @cached_property
    def id(self) -> str:
        """12 hexadecimal digits from the photo's hash and the timestamp."""
        return hashlib.blake2b(self.sha + struct.pack("<I", self.timestamp), digest_size=6).hexdigest()

    def cost(self, seal: Seal) -> int:
        """Bytes that it takes in a chunk and in the index."""
        return self.image_bytes + seal.part_overhead + len(self.code) + len(self.view) + INDEX_BYTES


def head_name(record: int) -> bytes:
    """The name that a chunk's head is sealed under."""
    return b"chunk:%d" % record


def image_name(record: int, index: int) -> bytes:
    """The name that an image of a chunk is sealed under."""
    return b"chunk:%d:image:%d" % (record, index)


def pack_head(record: int, items: Sequence[Item], lengths: Sequence[int], seal: Seal) -> bytes:
    """Seals the head of a chunk whose sealed images have the given lengths."""
    columns: dict[str, list[Any]] = {
        "timestamp": [item.timestamp for item in items], "codec": [item.codec for item in items],
        "resolution": [item.resolution for item in items], "length": list(lengths),
        "spread": [item.spread for item in items], "dhash": [item.dhash for item in items],
        "sha": [item.sha for item in items],
    }  # fmt: skip
    reasons = sorted({item.reason for item in items})
    rows = {"n": len(items), "code": len(items[0].code), "reasons": reasons,
            "reason": [reasons.index(item.reason) for item in items]}  # fmt: skip
    if any(len(item.view) != len(items[0].view) for item in items):
        raise UsageError("view", expected="as many numbers in all memories", found="different counts")
    if items[0].view:
        rows["view"] = len(items[0].view)
    text = json.dumps(rows, separators=(",", ":")).encode()
    table = b"".join(np.array(columns[name], dtype=kind).tobytes() for kind, name in _COLUMNS)
    packed = zlib.compress(struct.pack("<I", len(text)) + text + table, 9)
    tail = [item.code for item in items] + [item.view for item in items]
    return seal.seal(struct.pack("<I", len(packed)) + packed + b"".join(tail), head_name(record))


def pack_chunk(record: int, items: Sequence[Item], images: Sequence[bytes], seal: Seal) -> tuple[bytes, bytes]:
    """Builds a chunk without padding; returns it and its sealed head."""
    head = pack_head(record, items, [len(image) + seal.part_overhead for image in images], seal)
    sealed = [seal.seal_part(one, image_name(record, index), head, index) for index, one in enumerate(images)]
    return struct.pack("<I", len(head)) + head + b"".join(sealed), head


def read_head(record: int, head: bytes, seal: Seal) -> tuple[Item, ...]:
    """Opens a sealed head; every item has its place.

    Raises:
        IntegrityError: the head is not what was written.
        ValueError, KeyError, struct.error, zlib.error: a head sealed by something else.
    """
    plain = seal.unseal(head, head_name(record))
    (size,) = struct.unpack_from("<I", plain)
    unpacked = zlib.decompressobj().decompress(plain[4 : 4 + size], _MOST_HEAD)
    (text,) = struct.unpack_from("<I", unpacked)
    rows = json.loads(unpacked[4 : 4 + text])
    n, code, view, at = int(rows["n"]), int(rows["code"]), int(rows.get("view", 0)), 4 + text
    columns: dict[str, Any] = {}
    for kind, name in _COLUMNS:
        columns[name] = np.frombuffer(unpacked, kind, n, at)
        at += columns[name].nbytes
    codes = plain[4 + size :]
    sizes = len(codes) != n * (code + view) or code < code_bytes(1) or view < 0
    if at != len(unpacked) or sizes or len(rows["reason"]) != n:
        raise ValueError("columns of unequal length")
    offsets = HEAD_PREFIX + len(head) + np.concatenate([[0], np.cumsum(columns["length"], dtype=np.int64)])
    return tuple(
        Item(
            timestamp=int(columns["timestamp"][i]), codec=int(columns["codec"][i]),
            resolution=int(columns["resolution"][i]), spread=float(columns["spread"][i]),
            dhash=int(columns["dhash"][i]), sha=bytes(columns["sha"][i]).ljust(SHA_BYTES, b"\0"),
            reason=str(rows["reasons"][rows["reason"][i]]), code=codes[i * code : (i + 1) * code],
            view=codes[n * code + i * view : n * code + (i + 1) * view],
            place=Place(record, i, int(offsets[i]), int(columns["length"][i]), head[:NONCE_BYTES]),
            image_bytes=int(columns["length"][i]) - seal.part_overhead,
        )
        for i in range(n)
    )  # fmt: skip
