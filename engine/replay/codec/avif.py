"""AVIF (AV1 still pictures): the densest codec, for idle time.

An AVIF file of a small face is a third boilerplate: 275 bytes of boxes (ISO/IEC 23008-12, AV1-ISOBMFF) that differ
only in sizes. Here the AV1 payload is stored alone, after one byte for the level, and the boxes are made again to
decode it. A file with any other boxes is stored whole.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from everface.engine.replay.codec.pillow import pillow_decode, pillow_encode, pillow_has

# AV1 levels are 0 to 31, so this first byte says that a whole file follows.
_WHOLE = b"\xff"


class AvifCodec:
    """AVIF through Pillow, 4:2:0; effort 0..10 is its speed turned round."""

    name = "avif"
    number = 2

    def available(self) -> bool:
        """Pillow >= 12 is usually built with it."""
        return pillow_has("avif")

    def encode(self, image: NDArray[np.uint8], quality: int, effort: int) -> bytes:
        """See ``everface.engine.replay.codec.base.Codec``."""
        # One thread: how many there are must not change the bytes.
        whole = pillow_encode(
            image, "AVIF", quality=quality, speed=10 - effort, subsampling="4:2:0", max_threads=1, autotiling=False
        )
        return _strip(whole, image.shape[0], image.shape[1])

    def decode(self, data: bytes, resolution: int) -> NDArray[np.uint8]:
        """See ``everface.engine.replay.codec.base.Codec``."""
        whole = data[1:] if data[:1] == _WHOLE else _boxes(data[1:], data[0], resolution, resolution)
        with _one_thread():
            return pillow_decode(whole, "AVIF", resolution)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Starting threads takes half as long again as decoding a small face, and Pillow has no argument for it."""
    from PIL import AvifImagePlugin

    before = AvifImagePlugin.DEFAULT_MAX_THREADS
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    try:
        yield
    finally:
        AvifImagePlugin.DEFAULT_MAX_THREADS = before


def _box(kind: bytes, body: bytes, *, full: bool = False) -> bytes:
    head = bytes(4) if full else b""
    return struct.pack(">I", 8 + len(head) + len(body)) + kind + head + body


def _boxes(payload: bytes, level: int, height: int, width: int) -> bytes:
    """A still picture around an AV1 payload: 8-bit, 4:2:0, sRGB as full-range BT.601."""
    kinds = _box(b"ftyp", b"avif" + bytes(4) + b"avifmif1miafMA1B")
    handler = _box(b"hdlr", bytes(4) + b"pict" + bytes(13), full=True)
    primary = _box(b"pitm", struct.pack(">H", 1), full=True)
    entry = _box(b"infe", struct.pack(">HH", 1, 0) + b"av01Color\0")
    entry = struct.pack(">I", len(entry) + 4) + b"infe" + b"\x02\0\0\0" + entry[8:]
    entries = _box(b"iinf", struct.pack(">H", 1) + entry, full=True)
    size = _box(b"ispe", struct.pack(">II", width, height), full=True)
    depth = _box(b"pixi", b"\x03\x08\x08\x08", full=True)
    config = _box(b"av1C", bytes([0x81, level, 0x0C, 0x00]))
    colour = _box(b"colr", b"nclx" + struct.pack(">HHHB", 1, 13, 6, 0x80))
    container = _box(b"ipco", size + depth + config + colour)
    uses = _box(b"ipma", struct.pack(">IHB", 1, 1, 4) + b"\x01\x02\x83\x04", full=True)
    properties = _box(b"iprp", container + uses)
    rest = len(handler) + len(primary) + len(entries) + len(properties)
    at = len(kinds) + 12 + rest + 30 + 8
    where = struct.pack(">HHHHHII", 0x4400, 1, 1, 0, 1, at, len(payload))
    location = _box(b"iloc", where, full=True)
    meta = _box(b"meta", handler + primary + location + entries + properties, full=True)
    return kinds + meta + _box(b"mdat", payload)


def _strip(whole: bytes, height: int, width: int) -> bytes:
    found, start = whole.find(b"av1C"), whole.find(b"mdat")
    if found > 0 and start > 0:
        level, payload = whole[found + 5], whole[start + 4 :]
        if level < _WHOLE[0] and _boxes(payload, level, height, width) == whole:
            return bytes([level]) + payload
    return _WHOLE + whole
