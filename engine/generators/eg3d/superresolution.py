"""Superresolution of rendered features: two blocks of StyleGAN2 (Chan et al. 2022, section 4.4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everface.engine.generators.eg3d.config import SUPERRESOLUTIONS, EG3DConfig
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.synthesis import SynthesisBlock


class Superresolution(nn.Module):
    """Features and raw image to the final image, with the last style for all layers.

    Args:
        config: its kind, widths and resolutions.
    """

    resample_filter: Tensor

    def __init__(self, config: EG3DConfig):
        super().__init__()
        self.config = config
        first_up = SUPERRESOLUTIONS[config.superresolution]
        size = config.resolution
        shape = StyleGAN2Config(
            resolution=size,
            w_dim=config.backbone.w_dim,
            channel_base=config.sr_channels // 2 * size,
            channel_max=config.sr_channels,
            conv_clamp=config.sr_conv_clamp,
        )
        # Both blocks draw at their own side; the first keeps the side in the 4X and 2X kinds.
        self.block0 = SynthesisBlock(size // 2, shape, config.features, up=first_up)
        self.block1 = SynthesisBlock(size, shape, config.sr_channels)
        if config.superresolution != "8XDC":  # the published kinds differ in this buffer, which nothing reads
            taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
            self.register_buffer("resample_filter", torch.outer(taps, taps) / 64)

    def forward(self, image: Tensor, features: Tensor, ws: Tensor) -> Tensor:
        """Maps the raw image [n, 3, h, h] and features [n, features, h, h] to images [n, 3, resolution, resolution].

        Args:
            image, features: resized to what the first block takes where they differ.
            ws: [n, num_ws, w_dim]; the last one is used.
        """
        styles = ws[:, -1:].expand(-1, 3, -1)
        x, raw = (_resized(part, self.config.sr_input, self.config.sr_antialias) for part in (features, image))
        for block in (self.block0, self.block1):
            x, raw = block(x, raw, styles, noise=self.config.sr_noise)
        return raw


def _resized(x: Tensor, side: int, antialias: bool) -> Tensor:
    if x.shape[-1] == side:
        return x
    # Enlarging needs no filter, and exporters reject one.
    filtered = antialias and side < x.shape[-1]
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False, antialias=filtered)
