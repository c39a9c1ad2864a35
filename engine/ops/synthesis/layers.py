"""A synthesis network layer by layer: the reference, and what renders networks that the whole-network kernels lack."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from everface.engine.ops.modulated_conv import modulated_conv2d
from everface.engine.ops.resample import upsample_2x
from everface.engine.ops.synthesis.weights import LayerWeights, SynthesisWeights


def synthesize_by_layers(weights: SynthesisWeights[Tensor], ws: Tensor, *, dtype: torch.dtype, impl: str) -> Tensor:
    """As ``everface.engine.ops.synthesis.learning.synthesize``, a modulated convolution at a time.

    Args:
        weights: of any number of colours, on any device.
        ws: ``[n, num_ws, w_dim]``.
        dtype: of activations.
        impl: see ``everface.engine.ops.modulated_conv.modulated_conv2d``.
    """
    image: Tensor | None = None
    x = weights.constant[None].to(dtype).expand(len(ws), -1, -1, -1)
    index = 0
    for layer in weights.layers:
        style = F.linear(ws[:, index], layer.affine_weight / math.sqrt(weights.w_dim), layer.affine_bias)
        if layer.name.endswith("torgb"):
            # It shares its style with the next block's first convolution.
            colours = _to_colours(layer, x, style, weights.clamp, impl).to(ws.dtype)
            image = colours if image is None else upsample_2x(image) + colours
            continue
        x = modulated_conv2d(
            x, layer.weight, style, up=2 if layer.name.endswith("conv0") else 1, noise=layer.noise,
            noise_strength=layer.noise_strength, bias=layer.bias, clamp=weights.clamp, impl=impl,
        )  # fmt: skip
        index += 1
    return x if image is None else image


def _to_colours(layer: LayerWeights[Tensor], x: Tensor, style: Tensor, clamp: float | None, impl: str) -> Tensor:
    style = style / math.sqrt(layer.weight.shape[1])
    return modulated_conv2d(
        x, layer.weight, style, demodulate=False, bias=layer.bias, activation="linear", clamp=clamp, impl=impl
    )
