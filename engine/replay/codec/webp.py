"""WebP (lossy VP8): the fast codec, used at capture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from everface.engine.replay.codec.pillow import pillow_decode, pillow_encode, pillow_has

__all__ = ["WebpCodec"]


class WebpCodec:
    """WebP through Pillow; effort maps to its methods 0 to 6."""

    name = "webp"
    number = 1

    def available(self) -> bool:
        """Pillow is usually built with it."""
        return pillow_has("webp")

    def encode(self, image: NDArray[np.uint8], quality: int, effort: int) -> bytes:
        """See :class:`~everface.engine.replay.codec.base.Codec`."""
        return pillow_encode(image, "WEBP", quality=quality, method=min(6, round(effort * 0.6)))

    def decode(self, data: bytes, resolution: int) -> NDArray[np.uint8]:
        """See :class:`~everface.engine.replay.codec.base.Codec`."""
        return pillow_decode(data, "WEBP", resolution)
