"""Learning: a synthesis network with gradients, whose weights are read in place at each call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from everface import _native
from everface.engine.errors import UsageError
from everface.engine.ops.dispatch import choose, machine_obstacle
from everface.engine.ops.synthesis.layers import synthesize_by_layers
from everface.engine.ops.synthesis.weights import MAX_COLOURS, SynthesisWeights
from everface.engine.ops.tensors import share

__all__ = ["synthesize"]

_PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float64: "fp64"}


def synthesize(
    weights: SynthesisWeights[Tensor],
    ws: Tensor,
    *,
    dtype: torch.dtype | None = None,
    impl: str = "auto",
) -> Tensor:
    """Renders styles, with first derivatives to the styles and to all weights that ask for them.

    When no weight requires a gradient (inversion), none of theirs are computed. For second derivatives take
    ``impl="reference"``.

    Args:
        weights: of the network; an optimiser's step shows at the next call.
        ws: ``[n, num_ws, w_dim]``, or ``[n, w_dim]`` for every layer; float32, or float64.
        dtype: of activations and products: that of ``ws`` by default, or bfloat16 with float32 styles.
        impl: ``"auto"``, ``"reference"`` (plain PyTorch), ``"cpu"`` (one kernel for the whole network, of at most 4
            colours) or ``"cuda"`` (kernels layer by layer); a named one never falls back to another. Auto takes the
            kernel where it can, and elsewhere the kernels of single layers.

    Returns:
        Images ``[n, colours, r, r]`` in about [-1, 1], not clamped, in the type of ``ws``.

    Raises:
        UsageError: an argument is outside of its contract.
        MissingBackendError: a named implementation cannot run here.
    """
    ws = _every_layer(weights, ws)
    chosen = dtype or ws.dtype

    def obstacle(name: str) -> str:
        return _cpu_obstacle(weights, ws, chosen) if name == "cpu" else machine_obstacle(name)

    whole = not obstacle("cpu")
    if choose("synthesize", impl, "cpu" if whole else "reference", obstacle) != "cpu":
        return synthesize_by_layers(weights, ws, dtype=chosen, impl=impl)
    flat = [tensor.to(ws.dtype) for tensor in weights.parameters()]
    image: Tensor = _Synthesis.apply(weights, _PRECISIONS[chosen], ws, *flat)  # type: ignore[no-untyped-call]
    return image


def _every_layer(weights: SynthesisWeights[Tensor], ws: Tensor) -> Tensor:
    if ws.ndim == 2:
        ws = ws[:, None].expand(-1, weights.num_ws, -1)
    if ws.ndim != 3 or ws.shape[1] != weights.num_ws or ws.shape[2] != weights.w_dim:
        expected = f"[n, {weights.num_ws}, {weights.w_dim}] or [n, {weights.w_dim}]"
        raise UsageError("ws", expected=expected, found=str(tuple(ws.shape)), remedy="pass styles of this network")
    return ws


def _cpu_obstacle(weights: SynthesisWeights[Tensor], ws: Tensor, dtype: torch.dtype) -> str:
    if weights.colours > MAX_COLOURS:
        return f"{weights.colours} colours, of at most {MAX_COLOURS}"
    if weights.constant.device.type != "cpu" or ws.device.type != "cpu":
        return f"weights on {weights.constant.device} and styles on {ws.device}"
    known = ((torch.float32,) * 2, (torch.float64,) * 2, (torch.float32, torch.bfloat16))
    return "" if (ws.dtype, dtype) in known else f"{ws.dtype} styles and {dtype} activations"


def _bind(
    weights: SynthesisWeights[Tensor], flat: Sequence[Tensor], real: torch.dtype | None = None
) -> _native.SynthesisWeights:
    """Dense tensors in the order of ``weights.parameters()``: of the network itself, with its noise in the type
    ``real``, or for its gradients.
    """
    parts = iter(flat)
    constant, layers = share(next(parts)), []
    for layer in weights.layers:
        named = {name: share(next(parts)) for name in layer.parameters()}
        noise = None if real is None or layer.noise is None else layer.noise.detach().to(real)[None]
        layers.append(_native.SynthesisLayer(**named, noise=share(noise)))
    return _native.SynthesisWeights(constant=constant, layers=layers, clamp=weights.clamp)


class _Synthesis(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        weights: SynthesisWeights[Tensor],
        precision: str,
        ws: Tensor,
        *flat: Tensor,
    ) -> Tensor:
        ws, flat = ws.contiguous(), tuple(tensor.contiguous() for tensor in flat)
        image = ws.new_empty(len(ws), weights.colours, weights.resolution, weights.resolution)
        bound = _bind(weights, flat, ws.dtype)
        ctx.run = _native.SynthesisPass(bound, ws=share(ws), image=share(image), precision=precision)
        ctx.weights = weights
        ctx.save_for_backward(ws, *flat)  # so that PyTorch notices a change between the passes
        return image

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dimage: Tensor) -> tuple[Any, ...]:
        ws, *flat = ctx.saved_tensors
        wanted = ctx.needs_input_grad[3:]
        grads = [torch.empty_like(tensor) for tensor in flat] if any(wanted) else []
        dws = torch.empty_like(ws) if ctx.needs_input_grad[2] else None
        ctx.run.backward(
            dimage=share(dimage),
            gradients=_bind(ctx.weights, grads) if grads else None,
            dws=share(dws),
        )
        given = (
            [grad if need else None for grad, need in zip(grads, wanted, strict=True)] if grads else [None] * len(flat)
        )
        return None, None, dws, *given
