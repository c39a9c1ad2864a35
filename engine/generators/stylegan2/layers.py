"""Layers of StyleGAN2, in plain PyTorch.

The weights of a convolution are shared by the whole batch: activations are scaled by the style before it and by the
demodulation factor after it, which is the same function as per-sample weights, exports with a dynamic batch, and is
several times faster on a CPU.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.ops.resample import fir_after_transpose
from everface.engine.ops.synthesis.weights import LayerWeights

_SQRT2 = math.sqrt(2.0)


class FullyConnected(nn.Module):
    """Fully connected layer with equalised learning rate: the stored weight is scaled when used."""

    def __init__(self, fan_in: int, fan_out: int, *, bias: float = 0.0, lr_multiplier: float = 1.0, act: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((fan_out,), bias / lr_multiplier))
        self.weight_gain = lr_multiplier / math.sqrt(fan_in)
        self.bias_gain = lr_multiplier
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """Maps [n, fan_in] to [n, fan_out]."""
        x = F.linear(x, *self.scaled())
        return F.leaky_relu(x, 0.2) * _SQRT2 if self.act else x

    def scaled(self) -> tuple[Tensor, Tensor]:
        """Weight [fan_out, fan_in] and bias [fan_out] as they are used."""
        return self.weight * self.weight_gain, self.bias if self.bias_gain == 1 else self.bias * self.bias_gain


class ModulatedConv(nn.Module):
    """What SynthesisLayer and ToRGB share: an affine style and a convolution whose input channels it scales."""

    resample_filter: Tensor

    def __init__(self, fan_in: int, fan_out: int, kernel: int, w_dim: int):
        super().__init__()
        self.affine = FullyConnected(w_dim, fan_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(fan_out))

    def weights(self, name: str) -> LayerWeights[Tensor]:
        """Its tensors as the synthesis operators take them."""
        return LayerWeights(name, self.affine.weight, self.affine.bias, self.weight, self.bias)


class SynthesisLayer(ModulatedConv):
    """Modulated 3x3 convolution (2x up or plain), demodulation, noise, bias and leaky ReLU."""

    noise_const: Tensor

    def __init__(self, fan_in: int, fan_out: int, resolution: int, *, up: bool, config: StyleGAN2Config):
        super().__init__(fan_in, fan_out, 3, config.w_dim)
        self.up, self.clamp = up, config.conv_clamp
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.register_buffer("resample_filter", torch.outer(taps, taps) / 64)
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.noise_strength = nn.Parameter(torch.zeros([]))

    def weights(self, name: str) -> LayerWeights[Tensor]:
        """Its tensors as the synthesis operators take them, noise included."""
        return replace(super().weights(name), noise_strength=self.noise_strength, noise=self.noise_const)

    def forward(self, x: Tensor, w: Tensor, *, noise: bool = True) -> Tensor:
        """Maps x [n, fan_in, h, h] with w [n, w_dim] to [n, fan_out, H, H], with the layer's noise or without."""
        style = self.affine(w)
        demodulation = torch.rsqrt(style.square() @ self.weight.square().sum(dim=(2, 3)).t() + 1e-8)
        x = x * style[:, :, None, None].to(x.dtype)
        if self.up:
            x = F.conv_transpose2d(x, self.weight.transpose(0, 1).to(x.dtype), stride=2)
            x = fir_after_transpose(x)
        else:
            x = F.conv2d(x, self.weight.to(x.dtype), padding=1)
        bias = self.bias[:, None, None] + (self.noise_const * self.noise_strength if noise else 0)
        x = x * demodulation[:, :, None, None].to(x.dtype) + bias.to(x.dtype)
        x = F.leaky_relu(x, 0.2) * _SQRT2
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class ToRGB(ModulatedConv):
    """Modulated 1x1 convolution to RGB, without demodulation."""

    def __init__(self, fan_in: int, config: StyleGAN2Config):
        super().__init__(fan_in, config.img_channels, 1, config.w_dim)
        self.weight_gain = 1 / math.sqrt(fan_in)
        self.clamp = config.conv_clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Maps x [n, fan_in, h, h] with w [n, w_dim] to an image [n, 3, h, h] in float32."""
        style = self.affine(w) * self.weight_gain
        x = F.conv2d(x * style[:, :, None, None].to(x.dtype), self.weight.to(x.dtype)).to(w.dtype)
        x = x + self.bias[:, None, None]
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)
