"""Layers against the formulas of the paper, in float64."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.layers import SynthesisLayer

CONFIG = StyleGAN2Config(resolution=32, z_dim=24, w_dim=24, mapping_layers=3, channel_base=256, channel_max=16)


def double(module: torch.nn.Module) -> torch.nn.Module:
    return module.double().eval().requires_grad_(False)


def layer_by_the_book(layer: SynthesisLayer, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Equations 1 and 3 of Karras et al. 2020: weights modulated and demodulated for each sample."""
    rows = []
    for sample, style in zip(x, layer.affine(w), strict=True):
        weight = layer.weight * style[None, :, None, None]
        weight = weight / torch.sqrt(weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8)
        if layer.up:
            # A transposed convolution is a convolution of the zero-stuffed input with the turned kernel.
            out = F.conv_transpose2d(sample[None], weight.transpose(0, 1), stride=2)
            taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype) / 4
            kernel = torch.outer(taps, taps)[None, None].expand(out.shape[1], 1, 4, 4)
            out = F.conv2d(F.pad(out, (1, 1, 1, 1)), kernel, groups=out.shape[1])
        else:
            out = F.conv2d(sample[None], weight, padding=1)
        rows.append(out)
    out = torch.cat(rows) + layer.noise_const * layer.noise_strength + layer.bias[:, None, None]
    return F.leaky_relu(out, 0.2) * math.sqrt(2)


@pytest.mark.parametrize("up", [False, True])
def test_layer_is_the_papers(up: bool) -> None:
    torch.manual_seed(1)
    layer = SynthesisLayer(6, 5, 16, up=up, config=CONFIG)
    layer.noise_strength.data.fill_(0.3)
    layer.bias.data.normal_()
    double(layer)
    side = 8 if up else 16
    x, w = torch.randn(3, 6, side, side, dtype=torch.float64), torch.randn(3, 24, dtype=torch.float64)
    torch.testing.assert_close(layer(x, w), layer_by_the_book(layer, x, w), rtol=1e-10, atol=1e-10)


def test_clamp_limits_activations() -> None:
    config = StyleGAN2Config(resolution=8, w_dim=24, channel_base=64, channel_max=8, conv_clamp=0.1)
    layer = SynthesisLayer(4, 4, 8, up=False, config=config).requires_grad_(False)
    found = layer(torch.randn(1, 4, 8, 8) * 100, torch.randn(1, 24))
    assert found.abs().max().item() == pytest.approx(0.1)
