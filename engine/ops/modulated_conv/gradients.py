"""Derivatives of :mod:`everface.engine.ops.modulated_conv`: the first by the kernels, the second by the reference."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from everface.engine.ops.modulated_conv.operator import _backward, _forward, modulated_conv2d
from everface.engine.ops.modulated_conv.reference import modulated_conv2d_reference

__all__ = ["modulated_conv2d"]

_TENSORS = 6  # x, weight, styles, noise, strength, bias


def _setup_forward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    y, demod = output
    ctx.save_for_backward(*inputs[:_TENSORS], y, demod)
    ctx.mark_non_differentiable(demod)
    ctx.up, ctx.demodulate, *scalars = inputs[_TENSORS:]
    ctx.scalars = scalars


def _derive_forward(ctx: Any, dy: Tensor, _: Tensor) -> tuple[Any, ...]:
    x, weight, styles, noise, strength, bias, y, demod = ctx.saved_tensors
    wanted = ctx.needs_input_grad
    needs = [wanted[0], wanted[2], wanted[1], wanted[5] and bias is not None, wanted[4] and strength is not None]
    grads = torch.ops.everface.modulated_conv2d_backward(
        dy, x, weight, styles, noise, strength, bias, y, demod, ctx.up, ctx.demodulate, ctx.scalars, needs
    )
    dx, ds, dw, db, dn = (g if needed else None for g, needed in zip(grads, needs, strict=True))
    dn = dn if dn is None else dn.reshape(strength.shape)
    return dx, dw, ds, None, dn, db, None, None, None, None, None


def _setup_backward(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    ctx.save_for_backward(*inputs[: 1 + _TENSORS])
    ctx.up, ctx.demodulate, ctx.scalars, ctx.needs = inputs[-4:]


def _derive_backward(ctx: Any, grads: list[Tensor | None]) -> tuple[Any, ...]:
    """Differentiates the reference's gradient: rare (path-length regularisation), so clarity goes before speed."""
    with torch.enable_grad():
        leaves: list[Any] = [None if t is None else t.detach().requires_grad_() for t in ctx.saved_tensors]
        dy, x, weight, styles, noise, strength, bias = leaves
        slope, gain, clamp = ctx.scalars
        y = modulated_conv2d_reference(
            x,
            weight,
            styles,
            noise,
            strength,
            bias,
            ctx.up,
            ctx.demodulate,
            slope,
            gain,
            clamp,
        )
        order = [x, styles, weight, bias, strength]
        pairs = [(t, g) for t, g, needed in zip(order, grads, ctx.needs, strict=True) if needed and g is not None]
        if not pairs:
            return (None,) * 13
        first = torch.autograd.grad(y, [t for t, _ in pairs if t is not None], dy, create_graph=True, allow_unused=True)
        used = [(f, g) for f, (_, g) in zip(first, pairs, strict=True) if f is not None and f.requires_grad]
        sources = [t for t in leaves if t is not None]
        second = torch.autograd.grad(
            [f for f, _ in used], sources, [g.reshape(f.shape) for f, g in used], allow_unused=True
        )
    found = iter(second)
    out = [None if t is None else next(found) for t in leaves]
    out[4] = None  # noise is a constant
    return (*out, None, None, None, None, None, None)


_forward.register_autograd(_derive_forward, setup_context=_setup_forward)
_backward.register_autograd(_derive_backward, setup_context=_setup_backward)
