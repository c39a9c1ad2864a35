"""WebP (lossy VP8): the fast codec, used at capture. Its 20-byte RIFF header is not stored where it says nothing."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from everface.engine.replay.codec.pillow import pillow_decode, pillow_encode, pillow_has

_START = b"\x9d\x01\x2a"  # a VP8 key frame has these bytes at 3 (RFC 6386, section 9.1); a RIFF file has not


class WebpCodec:
    """WebP through Pillow; effort maps to its methods 0 to 6."""

    name = "webp"
    number = 1

    def available(self) -> bool:
        """Pillow is usually built with it."""
        return pillow_has("webp")

    def encode(self, image: NDArray[np.uint8], quality: int, effort: int) -> bytes:
        """See ``everface.engine.replay.codec.base.Codec``."""
        whole = pillow_encode(image, "WEBP", quality=quality, method=min(6, round(effort * 0.6)))
        frame = whole[20:]
        return frame if frame[3:6] == _START and _riff(frame) == whole else whole

    def decode(self, data: bytes, resolution: int) -> NDArray[np.uint8]:
        """See ``everface.engine.replay.codec.base.Codec``."""
        return pillow_decode(_riff(data) if data[3:6] == _START else data, "WEBP", resolution)


def _riff(frame: bytes) -> bytes:
    # Encoders pad the frame to an even length and count the padding in.
    return b"RIFF" + struct.pack("<I", 12 + len(frame)) + b"WEBPVP8 " + struct.pack("<I", len(frame)) + frame
