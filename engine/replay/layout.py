"""The bytes before the body: a safetensors header and the columns, under one SHA-256.

The file is a safetensors file (github.com/huggingface/safetensors, "Format"): 8 bytes of length, a JSON header, the
arrays without gaps. All arrays but the last two, ``codes`` and ``images``, are the columns. The digest is the first
value of the metadata, and covers every byte before ``codes`` with its own digits as zeros.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
import zlib
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import WorkspaceError
from everface.engine.replay.body import DIGEST_BYTES
from everface.engine.replay.codec import CodecChoice
from everface.engine.replay.content import ANCHOR, SEEN, Content, columns, row_type
from everface.engine.replay.values import Ledger, Owner
from everface.engine.vault import damaged

FORMAT_VERSION = 1
_MOST_HEADER, _MOST_COLUMNS, _MOST_TEXT = 1 << 16, 1 << 28, 1 << 26
_BEGIN = b'{"__metadata__":{"digest":"'
_AT, _HEX = 8 + len(_BEGIN), 64
_NAMES = {"<u8": "U64", "<u4": "U32", "<f4": "F32", "<u2": "U16", "<f2": "F16", "|u1": "U8"}
_TYPES = {name: np.dtype(code) for code, name in _NAMES.items()}


def pack(content: Content, digests: bytes) -> bytes:
    """The bytes before the body of a content, with the digests of the body's blocks."""
    arrays = [(name, array) for name, array in _arrays(content, digests).items() if array.size]
    arrays.sort(key=lambda item: -item[1].dtype.itemsize)  # readers that map a file need aligned arrays
    codes, images = content.code_bytes, content.body_bytes - content.code_bytes
    entries = [(name, _NAMES[column.dtype.str], list(column.shape), column.nbytes) for name, column in arrays]
    entries += [("codes", "U8", [len(content.rows) + len(content.anchors), content.dimension], codes)]
    entries += [("images", "U8", [images], images)]
    metadata = {"digest": "0" * _HEX, "format": "everface memory", "version": str(FORMAT_VERSION)}
    header, at = dict[str, Any](__metadata__=metadata), 0
    for name, kind, shape, size in entries:
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    prefix = struct.pack("<Q", len(text)) + text + b"".join(column.tobytes() for _, column in arrays)
    return prefix[:_AT] + _digest(prefix) + prefix[_AT + _HEX :]


def unpack(file: BinaryIO) -> tuple[Content, bytes]:
    """The reverse of ``pack``: the content, and the digests of the body's blocks, which is what comes next.

    Raises:
        IntegrityError: these are not the bytes that were written.
        WorkspaceError: a newer version wrote it.
        ValueError, KeyError, TypeError, struct.error, zlib.error: written by something else.
    """
    begin = file.read(8)
    (length,) = struct.unpack("<Q", begin)
    require(length <= _MOST_HEADER)
    begin += file.read(length)
    require(begin[8:].startswith(_BEGIN))
    header = json.loads(begin[8:])
    require_version(int(header.pop("__metadata__")["version"]))
    size = int(header["codes"]["data_offsets"][0])
    require(0 <= size <= _MOST_COLUMNS)
    prefix = begin + file.read(size)
    if _digest(prefix) != prefix[_AT : _AT + _HEX]:
        raise damaged("header and columns")
    (codes, dimension), (images,) = (header.pop(name)["shape"] for name in ("codes", "images"))
    arrays: dict[str, NDArray[Any]] = {}
    for name, column in header.items():
        start, count = len(begin) + column["data_offsets"][0], int(np.prod(column["shape"]))
        arrays[name] = np.frombuffer(prefix, _TYPES[column["dtype"]], count, start).reshape(column["shape"])
    content, digests = _content(arrays, int(dimension)), arrays.get("block_digest", np.zeros(0, "u1")).tobytes()
    sizes = (len(content.rows) + len(content.anchors), content.body_bytes - content.code_bytes)
    require(sizes == (codes, images))
    return content, digests


def require(ok: bool) -> None:
    """Raises ValueError for other bytes than a store writes."""
    if not ok:
        raise ValueError("other bytes than a store writes")


def require_version(version: int) -> None:
    """Refuses a format that this version does not know."""
    if version != FORMAT_VERSION:
        found = f"version {version}, of a newer everface"
        raise WorkspaceError("workspace", expected=f"version {FORMAT_VERSION}", found=found, remedy="update everface")


def _digest(prefix: bytes) -> bytes:
    return hashlib.sha256(prefix[:_AT] + b"0" * _HEX + prefix[_AT + _HEX :]).hexdigest().encode()


def _arrays(content: Content, digests: bytes) -> dict[str, NDArray[Any]]:
    owner = content.ledger.owner
    arrays = {
        "image_offset": content.image_offsets.astype("<u4") if len(content.rows) else np.zeros(0, "<u4"),
        "owner": np.zeros(0, "<f4") if owner is None else owner.total.astype("<f4"),
        "text": np.frombuffer(_text(content.ledger), "u1"),
        "block_digest": np.frombuffer(digests, "u1").reshape(-1, DIGEST_BYTES),
    }
    for prefix, table in (("", content.rows), ("anchor_", content.anchors), ("seen_", content.seen)):
        arrays |= {prefix + name: table[name] for name in columns(table.dtype) if name != "length"}
    return arrays


def _content(arrays: dict[str, NDArray[Any]], dimension: int) -> Content:
    ledger = _ledger(arrays["text"].tobytes(), arrays.get("owner"))
    widths = [arrays[name].shape[1] if name in arrays else 0 for name in ("view", "embedding")]
    offsets = arrays.get("image_offset", np.zeros(1, "<u4")).astype(np.int64)
    rows = np.zeros(len(offsets) - 1, row_type(*widths))
    anchors = np.zeros(len(arrays.get("anchor_timestamp", ())), ANCHOR)
    seen = np.zeros(len(arrays.get("seen_dhash", ())), SEEN)
    for prefix, table in (("", rows), ("anchor_", anchors), ("seen_", seen)):
        for name in columns(table.dtype) if len(table) else ():
            if table.dtype[name].itemsize:
                table[name] = np.diff(offsets) if name == "length" else arrays[prefix + name]
    require(offsets[0] == 0 and bool((np.diff(offsets) >= 0).all()))
    require(rows["reason"].max(initial=0) <= max(0, len(ledger.reasons) - 1))
    places = np.arange(len(rows) + len(anchors)) * dimension
    rows["code"], anchors["code"] = places[: len(rows)], places[len(rows) :]
    rows["image"] = len(places) * dimension + offsets[:-1]
    return Content(ledger, rows, anchors, seen, dimension)


def _text(ledger: Ledger) -> bytes:
    values = {field.name: getattr(ledger, field.name) for field in dataclasses.fields(ledger)}
    values["choice"] = dataclasses.astuple(ledger.choice)
    values["owner"] = None if ledger.owner is None else ledger.owner.count
    text = {name: value for name, value in values.items() if value}
    return zlib.compress(json.dumps(text, separators=(",", ":"), sort_keys=True).encode(), 9)


def _ledger(text: bytes, total: NDArray[np.float32] | None) -> Ledger:
    values: dict[str, Any] = {"timestamps": 0, "model": "", "config_json": "", "budget_bytes": 0}
    values |= json.loads(zlib.decompressobj().decompress(text, _MOST_TEXT))
    for name in ("history", "reasons"):
        values[name] = tuple(values.get(name, ()))
    values["choice"] = CodecChoice(*values["choice"])
    values["forgotten"] = tuple((str(id), str(model)) for id, model in values.get("forgotten", ()))
    values["days"] = {int(stamp): str(day) for stamp, day in values.get("days", {}).items()}
    if total is not None:
        values["owner"] = Owner(total.astype(np.float32), int(values["owner"]))
    return Ledger(**values)
