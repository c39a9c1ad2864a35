"""A network that judges pictures on frozen features."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from everface.engine.numerics import narrow
from everface.engine.perception.perceptual import PerceptualDistance

_SQRT2 = math.sqrt(2.0)
# MobileNetV2 layers, their channels and strides, and the widths that they are mixed to.
LAYERS = ("block3", "block6", "block10", "block13")
CHANNELS, STRIDES, WIDTHS = (24, 32, 64, 96), (4, 8, 16, 16), (32, 48, 64, 96)
_WIDEST_HEAD = 96
_MIXING_SEED = 7


class FeatureDiscriminator(nn.Module):
    """Small heads on frozen features that a fixed random 1x1 and top-down mixing spreads over channels and scales
    (Sauer et al., "Projected GANs Converge Faster", NeurIPS 2021, section 3; here on MobileNetV2).

    Args:
        perceptual: the frozen network; a picture below its ``side`` is enlarged first.
    """

    def __init__(self, perceptual: PerceptualDistance) -> None:
        super().__init__()
        self._features = (perceptual,)  # in a tuple: it is not ours to train, move or save
        generator = torch.Generator().manual_seed(_MIXING_SEED)
        self.ccm, self.csm, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for i, (channels, width) in enumerate(zip(CHANNELS, WIDTHS, strict=True)):
            self.ccm.append(_frozen_conv(channels, width, 1, generator))
            if i + 1 < len(WIDTHS):
                self.csm.append(_frozen_conv(WIDTHS[i + 1], width, 3, generator))
            self.heads.append(_head(width, 128 // STRIDES[i]))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Logits [n, 1, 8, 8] of each head on pictures [n, 3, h, h]."""
        with narrow(images.device):
            return self.judge(self._features[0].activations(images, LAYERS))

    def judge(self, activations: Sequence[Tensor]) -> list[Tensor]:
        """The same of activations of ``LAYERS``, where they are known already."""
        with narrow(activations[0].device):
            logits: list[Tensor] = []
            above: Tensor | None = None
            for i in reversed(range(len(LAYERS))):
                x = self.ccm[i](activations[i])
                if above is not None:
                    if above.shape[-1] != x.shape[-1]:
                        above = F.interpolate(above, scale_factor=2, mode="bilinear", align_corners=False)
                    x = (x + self.csm[i](above)) / _SQRT2
                logits.insert(0, self.heads[i](x).float())
                above = x
            return logits


def _frozen_conv(channels: int, width: int, kernel: int, generator: torch.Generator) -> nn.Conv2d:
    conv = nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False).requires_grad_(False)
    fan_in = channels * kernel * kernel
    conv.weight.data = torch.randn(width, channels, kernel, kernel, generator=generator) / math.sqrt(fan_in)
    return conv


def _head(width: int, size: int) -> nn.Sequential:
    """Strided convolutions down to 8 pixels, one more 3x3, and a logit a place; all of spectral norm 1."""
    layers: list[nn.Module] = []
    while size > 8:
        wider = min(2 * width, _WIDEST_HEAD)
        layers += [spectral_norm(nn.Conv2d(width, wider, 4, 2, 1)), nn.LeakyReLU(0.2)]
        width, size = wider, size // 2
    layers += [spectral_norm(nn.Conv2d(width, _WIDEST_HEAD, 3, 1, 1)), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(_WIDEST_HEAD, 1, 3, 1, 1)))
