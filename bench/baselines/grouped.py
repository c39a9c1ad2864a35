"""StyleGAN2's synthesis as published: weights modulated for each sample, grouped convolutions, depthwise filters.

Written from the paper (Karras et al. 2020, arXiv 1912.04958, section 2.2 and appendix B). Everface's own network scales
activations instead, which is the same function.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from everface.engine.generators.stylegan2 import ModulatedConv, SynthesisLayer, SynthesisNetwork

_FIR = torch.outer(torch.tensor([1.0, 3.0, 3.0, 1.0]), torch.tensor([1.0, 3.0, 3.0, 1.0])) / 64


def _filter(x: Tensor, padding: tuple[int, int, int, int], gain: float) -> Tensor:
    """The [1,3,3,1] filter on every channel, as a depthwise convolution."""
    channels = x.shape[1]
    kernel = (_FIR * gain).to(x.dtype).expand(channels, 1, 4, 4)
    return F.conv2d(F.pad(x, padding), kernel, groups=channels)


def _upsample(x: Tensor) -> Tensor:
    """Zeros between the samples, then the filter."""
    n, c, h, w = x.shape
    spread = F.pad(x.reshape(n, c, h, 1, w, 1), (0, 1, 0, 0, 0, 1)).reshape(n, c, 2 * h, 2 * w)
    return _filter(spread, (2, 1, 2, 1), 4.0)


def _convolve(x: Tensor, layer: ModulatedConv, style: Tensor, *, demodulate: bool, up: bool) -> Tensor:
    n, cin, h, w = x.shape
    weight = layer.weight[None] * style[:, None, :, None, None]
    if demodulate:
        weight = weight * (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    cout, taps = weight.shape[1], weight.shape[3]
    weight, x = weight.to(x.dtype), x.reshape(1, n * cin, h, w)
    if up:
        x = F.conv_transpose2d(x, weight.transpose(1, 2).reshape(n * cin, cout, taps, taps), stride=2, groups=n)
        x = _filter(x, (1, 1, 1, 1), 4.0)
    else:
        x = F.conv2d(x, weight.reshape(n * cout, cin, taps, taps), padding=taps // 2, groups=n)
    return x.reshape(n, cout, *x.shape[2:])


def _clamped(x: Tensor, limit: float | None) -> Tensor:
    return x if limit is None else x.clamp(-limit, limit)


def _layer(x: Tensor, layer: SynthesisLayer, w: Tensor) -> Tensor:
    x = _convolve(x, layer, layer.affine(w), demodulate=True, up=layer.up)
    x = x + (layer.noise_const * layer.noise_strength).to(x.dtype)
    x = F.leaky_relu(x + layer.bias.to(x.dtype)[:, None, None], 0.2) * math.sqrt(2)
    return _clamped(x, layer.clamp)


def grouped_synthesis(network: SynthesisNetwork, ws: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The image that ``network(ws)`` gives, by the published formulation.

    Args:
        network: its weights.
        ws: [n, num_ws, w_dim].
        dtype: of the convolutions.
    """
    image: Tensor | None = None
    x = network.blocks()[0].const[None].to(dtype).expand(len(ws), -1, -1, -1)
    index = 0
    for block in network.blocks():
        if block.num_convs == 2:
            x = _layer(x, block.conv0, ws[:, index])
        x = _layer(x, block.conv1, ws[:, index + block.num_convs - 1])
        index += block.num_convs
        style = block.torgb.affine(ws[:, index]) * block.torgb.weight_gain
        rgb = _convolve(x, block.torgb, style, demodulate=False, up=False).float() + block.torgb.bias[:, None, None]
        rgb = _clamped(rgb, block.torgb.clamp)
        image = rgb if image is None else _upsample(image) + rgb
    if image is None:
        return ws.new_zeros(len(ws), network.config.img_channels, 0, 0)
    return image
