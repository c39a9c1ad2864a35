"""Synthesis on the fused operators, differentiable: what tuning and inversion run instead of the plain modules."""

from __future__ import annotations

import torch
from torch import Tensor

from everface.engine.generators.native import is_supported
from everface.engine.generators.stylegan2 import SynthesisLayer, SynthesisNetwork, ToRGB
from everface.engine.generators.training import synthesize
from everface.engine.ops.modulated_conv import modulated_conv2d
from everface.engine.ops.resample import upsample_2x

__all__ = ["render"]


def _layer(layer: SynthesisLayer, x: Tensor, w: Tensor, noise: Tensor | None, impl: str) -> Tensor:
    return modulated_conv2d(
        x,
        layer.weight,
        layer.affine(w),
        up=2 if layer.up else 1,
        noise=layer.noise_const if noise is None else noise,
        noise_strength=layer.noise_strength,
        bias=layer.bias,
        clamp=layer.clamp,
        impl=impl,
    )


def _to_rgb(layer: ToRGB, x: Tensor, w: Tensor, impl: str) -> Tensor:
    style = layer.affine(w) * layer.weight_gain
    rgb = modulated_conv2d(
        x, layer.weight, style, demodulate=False, bias=layer.bias, activation="linear", clamp=layer.clamp, impl=impl
    )
    return rgb.to(w.dtype)


def render(
    network: SynthesisNetwork,
    ws: Tensor,
    noises: dict[str, Tensor] | None = None,
    *,
    dtype: torch.dtype | None = None,
    impl: str = "auto",
) -> Tensor:
    """The same function as ``network(ws, noises, dtype=dtype)``, and the same gradients, several times faster.

    Args:
        network: its parameters are read in place, so an optimiser's step shows at once.
        ws: [n, num_ws, w_dim], or [n, w_dim] for every layer.
        noises: noise images [n or 1, 1, r, r] by layer name such as ``"b8.conv1"``; the constants where absent.
        dtype: of the activations, float32 or bfloat16; that of ``ws`` by default.
        impl: ``"auto"`` takes :func:`everface.engine.generators.training.synthesize` where it can (first derivatives);
            otherwise layer by layer, as :func:`everface.engine.ops.modulated_conv2d` has it (second derivatives too).

    Returns:
        Images [n, 3, resolution, resolution] in the dtype of ``ws``.
    """
    if impl == "auto" and is_supported(network, ws, dtype):
        return synthesize(network, ws, noises, dtype=dtype)
    if ws.ndim == 2:
        ws = ws[:, None].expand(-1, network.config.num_ws, -1)
    noises = noises or {}
    image: Tensor | None = None
    x = torch.empty(0)
    index = 0
    for block in network.blocks():
        name = f"b{block.resolution}"
        if block.resolution == 4:
            x = block.const[None].to(dtype or ws.dtype).expand(ws.shape[0], -1, -1, -1)
        else:
            x = _layer(block.conv0, x, ws[:, index], noises.get(f"{name}.conv0"), impl)
            index += 1
        x = _layer(block.conv1, x, ws[:, index], noises.get(f"{name}.conv1"), impl)
        index += 1
        rgb = _to_rgb(block.torgb, x, ws[:, index], impl)
        image = rgb if image is None else upsample_2x(image) + rgb
    return x if image is None else image
