"""The bytes before the body: a safetensors header and the columns, under one SHA-256.

The file is a safetensors file (github.com/huggingface/safetensors, "Format"): 8 bytes of length, a JSON header, the
arrays without gaps. All arrays but the last two, ``codes`` and ``images``, are the columns. The digest is the first
value of the metadata, and covers every byte before ``codes`` with its own digits as zeros.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import IntegrityError, UsageError, WorkspaceError
from everface.engine.replay.blocks import DIGEST_BYTES, block_count
from everface.engine.replay.codec import CodecChoice
from everface.engine.replay.content import ANCHOR_TYPE, SEEN_TYPE, Content, Ledger, row_type
from everface.engine.replay.values import Owner

__all__ = ["FORMAT_VERSION", "MOST_HEADER", "pack", "prefix_bytes", "reading", "require_version", "unpack"]

FORMAT_VERSION = 1
_BEGIN = b'{"__metadata__":{"digest":"'
_AT, _HEX = 8 + len(_BEGIN), 64
MOST_HEADER, _MOST_TEXT = 1 << 16, 1 << 26
_NAMES = {"<u8": "U64", "<u4": "U32", "<f4": "F32", "<u2": "U16", "<f2": "F16", "|u1": "U8"}
_TYPES = {name: np.dtype(code) for code, name in _NAMES.items()}


def pack(content: Content, digests: bytes | None) -> bytes:
    """The bytes before the body.

    Args:
        content: with its code and image bytes counted, wherever they are.
        digests: of the body's blocks; None where an encrypted file has none.
    """
    arrays = {name: array for name, array in _columns(content).items() if array.size}
    if digests:
        arrays["block_digest"] = np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES)
    # Wide types first: safetensors readers that map a file need aligned arrays.
    arrays = dict(sorted(arrays.items(), key=lambda one: -one[1].dtype.itemsize))
    header, at = {}, 0
    rows, images = len(content.rows) + len(content.anchors), content.body_bytes - content.code_bytes
    shapes = [(name, _NAMES[one.dtype.str], one.shape, one.nbytes) for name, one in arrays.items()]
    body = [("codes", "U8", (rows, content.dimension), content.code_bytes), ("images", "U8", (images,), images)]
    for name, kind, shape, size in (*shapes, *body):
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    metadata = {"digest": "0" * _HEX, "format": "everface memory", "version": str(FORMAT_VERSION)}
    text = json.dumps({"__metadata__": metadata, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    prefix = struct.pack("<Q", len(text)) + text + b"".join(one.tobytes() for one in arrays.values())
    return prefix[:_AT] + hashlib.sha256(prefix).hexdigest().encode() + prefix[_AT + _HEX :]


def prefix_bytes(begin: bytes) -> int:
    """How many bytes there are before the body, from the header that a file begins with; 8 of them say its length.

    Raises:
        IntegrityError, ValueError, KeyError, TypeError: this is no such header.
        WorkspaceError: a newer version wrote it.
    """
    (length,) = struct.unpack_from("<Q", begin)
    if len(begin) < 8 + length or not begin[8:].startswith(_BEGIN):
        raise ValueError("another header")
    header = json.loads(begin[8 : 8 + length])
    require_version(int(header["__metadata__"]["version"]))
    return int(8 + length + header["codes"]["data_offsets"][0])


def require_version(version: int) -> None:
    """Refuses a format that this version does not know."""
    if version != FORMAT_VERSION:
        raise WorkspaceError(
            "workspace", expected=f"format version {FORMAT_VERSION}", found=f"version {version}, of a newer everface",
            remedy="update everface",
        )  # fmt: skip


def unpack(prefix: bytes) -> tuple[Content, bytes]:
    """The reverse of :func:`pack`: the content, and the digests of the body's blocks.

    Raises:
        IntegrityError: these are not the bytes that were written.
        ValueError, KeyError, TypeError, struct.error, zlib.error: written by something else.
    """
    plain = prefix[:_AT] + b"0" * _HEX + prefix[_AT + _HEX :]
    if hashlib.sha256(plain).hexdigest().encode() != prefix[_AT : _AT + _HEX]:
        raise IntegrityError(
            "header and columns", expected="the bytes that were written", found="damaged bytes",
            remedy="restore the file from a copy of the workspace",
        )  # fmt: skip
    (length,) = struct.unpack_from("<Q", prefix)
    header = json.loads(prefix[8 : 8 + length])
    del header["__metadata__"]
    arrays: dict[str, NDArray[Any]] = {}
    (rows, dimension), images = header.pop("codes")["shape"], header.pop("images")["shape"][0]
    for name, one in header.items():
        kind, (start, _) = _TYPES[one["dtype"]], one["data_offsets"]
        count = int(np.prod(one["shape"]))
        arrays[name] = np.frombuffer(prefix, kind, count, 8 + length + start).reshape(one["shape"])
    digests = arrays.pop("block_digest", np.zeros(0, np.uint8)).tobytes()
    content = replace(_content(arrays, int(dimension)), dimension=int(dimension))
    if (len(content.rows) + len(content.anchors), content.body_bytes - content.code_bytes) != (rows, images):
        raise ValueError("columns of unequal length")
    if digests and len(digests) != DIGEST_BYTES * block_count(content.body_bytes):
        raise ValueError("digests of another body")
    return content, digests


def _columns(content: Content) -> dict[str, NDArray[Any]]:
    rows, anchors, seen, owner = content.rows, content.anchors, content.seen, content.ledger.owner
    columns = {name: rows[name] for name in rows.dtype.names or () if name not in ("length", "code", "image")}
    if len(rows):
        columns["image_offset"] = (content.image_offsets - content.code_bytes).astype("<u4")
    columns |= {"anchor_timestamp": anchors["timestamp"], "anchor_scale": anchors["scale"]}
    columns |= {f"seen_{name}": seen[name] for name in ("sha256", "dhash")}
    columns["owner"] = np.zeros(0, "<f4") if owner is None else owner.total.astype("<f4")
    columns["text"] = np.frombuffer(_text(content.ledger), np.uint8)
    return columns


def _text(ledger: Ledger) -> bytes:
    choice = ledger.choice
    text = {
        "timestamps": ledger.timestamps, "model": ledger.model, "config": ledger.config_json,
        "budget": ledger.budget_bytes, "choice": [choice.name, choice.quality, choice.effort, choice.resolution],
        "history": list(ledger.history), "dropped": ledger.dropped, "reasons": list(ledger.reasons),
        "owner": None if ledger.owner is None else ledger.owner.count, "forgotten": list(ledger.forgotten),
    }  # fmt: skip
    text |= {"days": {str(one): day for one, day in ledger.days.items()}} if ledger.days else {}
    return zlib.compress(json.dumps(text, separators=(",", ":"), sort_keys=True).encode(), 9)


def _ledger(text: bytes, total: NDArray[np.float32]) -> Ledger:
    told = json.loads(zlib.decompressobj().decompress(text, _MOST_TEXT))
    return Ledger(
        timestamps=int(told["timestamps"]), model=str(told["model"]), config_json=str(told["config"]),
        budget_bytes=int(told["budget"]), choice=CodecChoice(*told["choice"]), history=tuple(told["history"]),
        dropped=int(told["dropped"]), reasons=tuple(told["reasons"]),
        owner=None if told["owner"] is None else Owner(total.astype(np.float32), int(told["owner"])),
        forgotten=tuple((str(id), str(model)) for id, model in told["forgotten"]),
        days={int(one): str(day) for one, day in told.get("days", {}).items()},
    )  # fmt: skip


def _content(arrays: dict[str, NDArray[Any]], dimension: int) -> Content:
    widths = [arrays[name].shape[1] if name in arrays else 0 for name in ("view", "embedding")]
    offsets = arrays.pop("image_offset", np.zeros(1, "<u4")).astype(np.int64)
    rows = np.zeros(len(offsets) - 1, row_type(*widths))
    anchors = np.zeros(len(arrays.get("anchor_timestamp", ())), ANCHOR_TYPE)
    seen = np.zeros(len(arrays.get("seen_dhash", ())), SEEN_TYPE)
    for name in set(rows.dtype.names or ()) & set(arrays):
        rows[name] = arrays[name]
    if len(anchors):
        anchors["timestamp"], anchors["scale"] = arrays["anchor_timestamp"], arrays["anchor_scale"]
    if len(seen):
        seen["sha256"], seen["dhash"] = arrays["seen_sha256"], arrays["seen_dhash"]
    ledger = _ledger(arrays["text"].tobytes(), arrays.get("owner", np.zeros(0, np.float32)))
    if (np.diff(offsets) < 0).any() or (len(rows) and rows["reason"].max() >= len(ledger.reasons)):
        raise ValueError("columns out of range")
    rows["length"], rows["code"] = np.diff(offsets), np.arange(len(rows))
    rows["image"], anchors["code"] = rows["code"], len(rows) + np.arange(len(anchors))
    return Content(ledger, rows, anchors, seen, dimension)


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Any way in which stored bytes cannot be understood is an IntegrityError."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, struct.error, zlib.error, OverflowError, MemoryError) as error:
        found = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
        raise IntegrityError(
            what, expected="what a store writes", found=found, remedy="restore it from a copy of the workspace"
        ) from error
