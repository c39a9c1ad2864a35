"""Synthesis for tuning and inversion: the whole network is one native call forward and one backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from everface import _native
from everface.engine.errors import UsageError
from everface.engine.generators.native import (
    NativeParameters,
    bind,
    check_supported,
    full_ws,
    network_parameters,
    noise_images,
)
from everface.engine.generators.stylegan2 import StyleGAN2Config, SynthesisNetwork

__all__ = ["synthesize"]

_SUFFIX = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float64: "f64"}


class _Synthesis(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, config: StyleGAN2Config, suffix: str, noise: list[Tensor | None], ws: Tensor, *flat: Tensor
    ) -> Tensor:
        ws = ws.contiguous()
        flat = tuple(tensor.contiguous() for tensor in flat)
        batch = ws.shape[0]
        bound = bind(config, NativeParameters.from_flat(flat, len(config.block_resolutions)), noise, batch)
        size = config.resolution
        image = ws.new_empty(batch, config.img_channels, size, size)
        saved = torch.empty(getattr(_native, f"synthesis_saved_bytes_{suffix}")(bound, batch), dtype=torch.uint8)
        getattr(_native, f"synthesis_forward_{suffix}")(bound, batch, ws.data_ptr(), image.data_ptr(), saved.data_ptr())
        ctx.save_for_backward(ws, *flat)
        ctx.config, ctx.suffix, ctx.noise, ctx.saved = config, suffix, noise, saved
        return image

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dimage: Tensor) -> tuple[Any, ...]:
        ws, *flat = ctx.saved_tensors
        dimage = dimage.contiguous()
        blocks, batch = len(ctx.config.block_resolutions), ws.shape[0]
        bound = bind(ctx.config, NativeParameters.from_flat(tuple(flat), blocks), ctx.noise, batch)
        train = any(ctx.needs_input_grad[4:])
        grads = tuple(torch.empty_like(tensor) for tensor in flat) if train else ()
        out = NativeParameters.from_flat(grads, blocks) if train else None
        dws = torch.empty_like(ws) if ctx.needs_input_grad[3] else None
        getattr(_native, f"synthesis_backward_{ctx.suffix}")(
            bound,
            batch,
            ws.data_ptr(),
            dimage.data_ptr(),
            ctx.saved.data_ptr(),
            0 if out is None else out.constant.data_ptr(),
            [] if out is None else out.addresses(),
            0 if dws is None else dws.data_ptr(),
        )
        wanted = ctx.needs_input_grad[4:]
        rest = [g if need else None for g, need in zip(grads, wanted, strict=True)] if train else [None] * len(flat)
        return None, None, None, dws, *rest


def synthesize(
    network: SynthesisNetwork,
    ws: Tensor,
    noises: dict[str, Tensor] | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The same function as ``network(ws, noises, dtype=dtype)`` with the same first derivatives, several times faster.

    Parameters are read in place at each call, so an optimiser's step shows at once. When none of them requires a
    gradient (inversion), the weight gradients are not computed. Second derivatives: use
    :func:`everface.engine.generators.fused.render`.

    Args:
        network: on the CPU, with at most 4 image channels.
        ws: [n, num_ws, w_dim], or [n, w_dim] for every layer; float32 (or float64).
        noises: noise images [n or 1, 1, r, r] by layer name such as ``"b8.conv1"``; the constants where absent.
        dtype: of activations and products, float32 or bfloat16 (or float64); that of ``ws`` by default.

    Returns:
        Images [n, colours, resolution, resolution] in the type of ``ws``.

    Raises:
        UsageError: an argument is outside of its contract.
        MissingBackendError: the network is not one that the native synthesis covers.
    """
    check_supported(network)
    ws = full_ws(network.config, ws)
    real = ws.dtype
    chosen = dtype or real
    if (
        real not in (torch.float32, torch.float64)
        or chosen not in (real, torch.bfloat16)
        or real != (torch.float64 if chosen == torch.float64 else torch.float32)
    ):
        expected = "float32 styles with float32 or bfloat16 activations, or float64 with float64"
        raise UsageError("ws, dtype", expected=expected, found=f"{real}, {chosen}", remedy="convert the styles")
    flat = tuple(tensor.to(real) for tensor in network_parameters(network))
    image: Tensor = _Synthesis.apply(  # type: ignore[no-untyped-call]
        network.config, _SUFFIX[chosen], noise_images(network, noises, real), ws, *flat
    )
    return image
