"""AVIF (AV1 still pictures): the densest codec, for idle time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from everface.engine.replay.codec.pillow import pillow_decode, pillow_encode, pillow_has

__all__ = ["AvifCodec"]


class AvifCodec:
    """AVIF through Pillow; effort 0..10 is its speed turned round."""

    name = "avif"
    number = 2

    def available(self) -> bool:
        """Pillow >= 12 is usually built with it."""
        return pillow_has("avif")

    def encode(self, image: NDArray[np.uint8], quality: int, effort: int) -> bytes:
        """See :class:`~everface.engine.replay.codec.base.Codec`."""
        return pillow_encode(image, "AVIF", quality=quality, speed=10 - effort, subsampling="4:2:0")

    def decode(self, data: bytes, resolution: int) -> NDArray[np.uint8]:
        """See :class:`~everface.engine.replay.codec.base.Codec`."""
        return pillow_decode(data, "AVIF", resolution)
