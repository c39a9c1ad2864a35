"""Networks that judge pictures: on frozen features, or on the picture itself."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from everface.engine.generators.stylegan2 import FullyConnected
from everface.engine.numerics import compute_dtype
from everface.engine.perception.perceptual import PerceptualDistance

__all__ = ["Discriminator", "FeatureDiscriminator", "ImageDiscriminator"]

_SQRT2 = math.sqrt(2.0)
# MobileNetV2 layers, their channels and strides, and the widths that they are mixed to.
LAYERS = ("block3", "block6", "block10", "block13")
CHANNELS, STRIDES, WIDTHS = (24, 32, 64, 96), (4, 8, 16, 16), (32, 48, 64, 96)
_WIDEST_HEAD = 96
_MIXING_SEED = 7


class Discriminator(nn.Module):
    """Judges pictures in two steps, the first of which has no weights that are trained."""

    def views(self, images: Tensor) -> list[Tensor]:
        """What the trained part sees of pictures [n, 3, h, h]: one view serves both players' steps."""
        return [images]

    def judge(self, views: list[Tensor]) -> list[Tensor]:
        """Logits of views, [n, ...] each, positive for real pictures."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> list[Tensor]:
        """Judges pictures [n, 3, h, h]."""
        return self.judge(self.views(images))


class FeatureDiscriminator(Discriminator):
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

    def views(self, images: Tensor) -> list[Tensor]:
        """A map [n, width, k, k] for each head."""
        with _narrow(images):
            found: list[Tensor] = []
            above: Tensor | None = None
            activations = self._features[0].activations(images, LAYERS)
            for i in reversed(range(len(LAYERS))):
                x = self.ccm[i](activations[i])
                if above is not None:
                    if above.shape[-1] != x.shape[-1]:
                        above = F.interpolate(above, scale_factor=2, mode="bilinear", align_corners=False)
                    x = (x + self.csm[i](above)) / _SQRT2
                found.insert(0, x)
                above = x
            return found

    def judge(self, views: list[Tensor]) -> list[Tensor]:
        """Logits [n, 1, 8, 8] of each head on its view."""
        with _narrow(views[0]):
            return [head(view).float() for head, view in zip(self.heads, views, strict=True)]


def _narrow(x: Tensor) -> torch.autocast:
    dtype = compute_dtype()
    return torch.autocast("cpu", dtype, enabled=x.device.type == "cpu" and dtype != torch.float32)


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


class ImageDiscriminator(Discriminator):
    """StyleGAN2's residual discriminator with average pooling (Karras et al. 2020, figure 7c) and the minibatch
    standard deviation (Karras et al. 2018, section 3).

    Args:
        resolution: side of the pictures.
        channel_base, channel_max: channels at resolution r are min(channel_base / r, channel_max).
    """

    def __init__(self, resolution: int, channel_base: int, channel_max: int) -> None:
        super().__init__()
        self.resolution = resolution
        side = resolution
        self.add_module(f"rgb{side}", _Conv(3, min(channel_base // side, channel_max), 1))
        while side >= 8:
            near, far = (min(channel_base // s, channel_max) for s in (side, side // 2))
            self.add_module(f"b{side}", _Block(near, far))
            side //= 2
        last = min(channel_base // 4, channel_max)
        self.c, self.f = _Conv(last + 1, last, 3), FullyConnected(last * 16, last, act=True)
        self.o = FullyConnected(last, 1)

    def judge(self, views: list[Tensor]) -> list[Tensor]:
        """One tensor [n, 1] of logits for pictures [n, 3, resolution, resolution]."""
        (images,) = views
        x = self.get_submodule(f"rgb{self.resolution}")(images.contiguous(memory_format=torch.channels_last))
        side = self.resolution
        while side >= 8:
            x = self.get_submodule(f"b{side}")(x)
            side //= 2
        x = self.c(torch.cat([x, _batch_deviation(x)], dim=1))
        return [self.o(self.f(x.flatten(1)))]


class _Conv(nn.Module):
    """Convolution with equalised learning rate."""

    def __init__(self, fan_in: int, fan_out: int, kernel: int, *, act: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(fan_out)) if act else None
        self.gain, self.padding = 1 / math.sqrt(fan_in * kernel * kernel), kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.weight * self.gain, self.bias, padding=self.padding)
        return x if self.bias is None else F.leaky_relu(x, 0.2) * _SQRT2


class _Block(nn.Module):
    def __init__(self, near: int, far: int) -> None:
        super().__init__()
        self.a, self.b, self.s = _Conv(near, near, 3), _Conv(near, far, 3), _Conv(near, far, 1, act=False)

    def forward(self, x: Tensor) -> Tensor:
        skip: Tensor = self.s(F.avg_pool2d(x, 2))
        return (F.avg_pool2d(self.b(self.a(x)), 2) + skip) / _SQRT2


def _batch_deviation(x: Tensor, group: int = 4) -> Tensor:
    """One more channel: how much the pictures of a group differ, the same number at every place."""
    n, size = x.shape[0], x.shape[2:]
    group = math.gcd(group, n)
    y = x.reshape(group, n // group, *x.shape[1:])
    deviation = ((y - y.mean(dim=0)).square().mean(dim=0) + 1e-8).sqrt().mean(dim=(1, 2, 3), keepdim=True)
    return deviation.repeat(group, 1, *size)
