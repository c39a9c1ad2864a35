"""Bias, leaky ReLU, gain and clamp as one pass over memory, with derivatives of any order."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from everface.engine.errors import UsageError
from everface.engine.ops.choice import address, call_native, choose, is_channels_last, real_type
from everface.engine.ops.reference import bias_act_reference

__all__ = ["bias_act"]

_MAX_FLOAT32 = 3.4e38
_ACTIVATIONS = {"lrelu": (0.2, math.sqrt(2)), "linear": (1.0, 1.0)}


def bias_act(
    x: Tensor, bias: Tensor | None = None, *, activation: str = "lrelu", gain: float | None = None,
    clamp: float | None = None, impl: str = "auto",
) -> Tensor:  # fmt: skip
    """``clamp(act(x + bias) * gain)`` (Karras et al. 2020, arXiv 1912.04958, appendix B).

    Args:
        x: ``[N, C, ...]``, float32, bfloat16 or float64, contiguous or channels-last (both without a copy).
        bias: ``[C]``.
        activation: ``"lrelu"`` (slope 0.2, default gain sqrt 2) or ``"linear"`` (default gain 1).
        gain: factor after the activation.
        clamp: largest magnitude of the result.
        impl: ``"auto"``, ``"reference"``, ``"cpu"`` (a gain above 0) or ``"cuda"``; a named one never falls back.

    Returns:
        x's shape, type and layout.

    Raises:
        UsageError: an argument is outside of its contract.
        MissingBackendError: a named implementation cannot run here.
    """
    if x.ndim < 2 or not x.dtype.is_floating_point:
        raise UsageError("x", expected="floats [N, C, ...]", found=f"{x.dtype} {tuple(x.shape)}", remedy="reshape it")
    if bias is not None and tuple(bias.shape) != (x.shape[1],):
        expected, found = f"({x.shape[1]},)", str(tuple(bias.shape))
        raise UsageError("bias", expected=expected, found=found, remedy="give one bias per channel")
    if activation not in _ACTIVATIONS:
        raise UsageError("activation", expected="lrelu or linear", found=repr(activation), remedy="choose one of them")
    if clamp is not None and not clamp > 0:
        raise UsageError("clamp", expected="above 0", found=repr(clamp), remedy="pass None for no limit")
    slope, usual = _ACTIVATIONS[activation]
    factor = usual if gain is None else float(gain)
    # The kernel's gradient takes the sign of x + bias from the result.
    if choose("bias_act", x, impl, needs="a gain above 0", fits=factor > 0) == "reference":
        return bias_act_reference(x, bias, slope=slope, gain=factor, clamp=clamp)
    real = None if bias is None else bias.to(real_type(x.dtype))
    limit = _MAX_FLOAT32 if clamp is None else min(float(clamp), _MAX_FLOAT32)
    result: Tensor = torch.ops.everface.bias_act(x, real, slope, factor, limit)
    return result


def _dense(x: Tensor) -> Tensor:
    return x if x.ndim == 4 and is_channels_last(x) else x.contiguous()


def _layout(x: Tensor) -> list[int]:
    """Outer, channels, inner of a dense tensor; inner is 1 where channels are last."""
    n, c = x.shape[:2]
    inner = math.prod(x.shape[2:])
    return [n * inner, c, 1] if inner == 1 or (x.ndim == 4 and is_channels_last(x)) else [n, c, inner]


@torch.library.custom_op("everface::bias_act", mutates_args=(), device_types=("cpu", "cuda"))
def _bias_act(x: Tensor, bias: Tensor | None, slope: float, gain: float, clamp: float) -> Tensor:
    x, bias = _dense(x), None if bias is None else bias.contiguous()
    y = torch.empty_like(x)
    call_native("bias_act", x, _layout(x), [slope, gain, clamp], [x.data_ptr(), address(bias), y.data_ptr()])
    return y


@_bias_act.register_fake
def _(x: Tensor, bias: Tensor | None, slope: float, gain: float, clamp: float) -> Tensor:
    return torch.empty_like(_dense(x))


@torch.library.custom_op("everface::bias_act_grad", mutates_args=(), device_types=("cpu", "cuda"))
def _bias_act_grad(dy: Tensor, y: Tensor, slope: float, gain: float, clamp: float) -> Tensor:
    y = _dense(y)
    dy = dy.contiguous(memory_format=torch.channels_last) if y.ndim == 4 and is_channels_last(y) else dy.contiguous()
    dx = torch.empty_like(y)
    call_native("bias_act_grad", y, _layout(y), [slope, gain, clamp], [dy.data_ptr(), y.data_ptr(), dx.data_ptr()])
    return dx


@_bias_act_grad.register_fake
def _(dy: Tensor, y: Tensor, slope: float, gain: float, clamp: float) -> Tensor:
    return torch.empty_like(_dense(y))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(output)
    ctx.scalars, ctx.biased = inputs[2:], inputs[1] is not None


def _derive(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    (y,) = ctx.saved_tensors
    dx: Tensor = torch.ops.everface.bias_act_grad(dy, y, *ctx.scalars)
    # Sums over pixels are taken in the bias's own, wider type.
    others = [0, *range(2, dx.ndim)]
    dbias = dx.sum(others, dtype=real_type(dx.dtype)) if ctx.biased and ctx.needs_input_grad[1] else None
    return dx, dbias, None, None, None


def _setup_grad(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.scalars = inputs[2:]


def _derive_grad(ctx: Any, ddx: Tensor) -> tuple[Tensor | None, ...]:
    """Linear in dy, and piecewise constant in y: the second derivative of a leaky ReLU is zero."""
    (y,) = ctx.saved_tensors
    return torch.ops.everface.bias_act_grad(ddx, y, *ctx.scalars), None, None, None, None


_bias_act.register_autograd(_derive, setup_context=_setup)
_bias_act_grad.register_autograd(_derive_grad, setup_context=_setup_grad)
