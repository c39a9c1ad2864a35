"""JPEG: everywhere, and the least dense."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from everface.engine.replay.codec.pillow import pillow_decode, pillow_encode, pillow_has


class JpegCodec:
    """Baseline JPEG with optimised Huffman tables, progressive from effort 6."""

    name = "jpeg"
    number = 3

    def available(self) -> bool:
        """Pillow is usually built with it."""
        return pillow_has("jpg")

    def encode(self, image: NDArray[np.uint8], quality: int, effort: int) -> bytes:
        """See ``everface.engine.replay.codec.base.Codec``."""
        return pillow_encode(image, "JPEG", quality=max(1, quality), optimize=True, progressive=effort >= 6)

    def decode(self, data: bytes, resolution: int) -> NDArray[np.uint8]:
        """See ``everface.engine.replay.codec.base.Codec``."""
        return pillow_decode(data, "JPEG", resolution)
