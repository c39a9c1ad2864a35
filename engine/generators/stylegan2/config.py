"""The shape of a StyleGAN2."""

from __future__ import annotations

import math
from dataclasses import dataclass

from everface.engine.errors import UsageError

__all__ = ["StyleGAN2Config"]


@dataclass(frozen=True)
class StyleGAN2Config:
    """Shape of a generator.

    Attributes:
        resolution: side of the image in pixels, a power of two from 8 to 1024.
        z_dim, w_dim: dimensions of Z and W.
        c_dim: dimension of the conditioning label, 0 for none.
        mapping_layers: fully connected layers from Z to W.
        channel_base, channel_max: channels at resolution r are min(channel_base / r, channel_max).
        img_channels: 3 for RGB.
        conv_clamp: largest magnitude of every layer's result (256 in fp16-trained models), None for none.
    """

    resolution: int = 64
    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 0
    mapping_layers: int = 8
    channel_base: int = 32768
    channel_max: int = 512
    img_channels: int = 3
    conv_clamp: float | None = None

    def __post_init__(self) -> None:
        size = self.resolution
        if size < 8 or size > 1024 or size & (size - 1):
            raise UsageError("resolution", expected="a power of two from 8 to 1024", found=str(size))
        for name in ("z_dim", "w_dim", "mapping_layers", "channel_base", "channel_max", "img_channels"):
            if getattr(self, name) < 1:
                raise UsageError(name, expected="at least 1", found=str(getattr(self, name)))

    @property
    def block_resolutions(self) -> tuple[int, ...]:
        """Resolutions of the synthesis blocks: 4, 8, ... resolution."""
        return tuple(2**i for i in range(2, int(math.log2(self.resolution)) + 1))

    @property
    def num_ws(self) -> int:
        """Number of styles that the synthesis network takes: two a block, less the one that b4 lacks, plus torgb."""
        return 2 * len(self.block_resolutions)

    def channels(self, resolution: int) -> int:
        """Channels of the block at a resolution."""
        return min(self.channel_base // resolution, self.channel_max)
