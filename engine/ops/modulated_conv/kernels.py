"""The kernels as PyTorch operators, with their gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from everface import _native
from everface.engine.ops.tensors import queued, share

_TENSORS = 6  # x, weight, styles, noise, strength, bias


def _pixels(tensor: Tensor) -> object:
    """Images as the kernels have them, [n, h, w, c] without gaps."""
    return share(tensor.permute(0, 2, 3, 1))


def _layer(  # noqa: PLR0913
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    noise: Tensor | None,
    strength: Tensor | None,
    bias: Tensor | None,
    up: bool,
    demodulate: bool,
    scalars: list[float],
) -> _native.ModulatedConv:
    slope, gain, clamp = scalars
    return _native.ModulatedConv(
        x=_pixels(x), weight=share(weight), styles=share(styles), bias=share(bias),
        noise=None if noise is None else share(noise[:, 0]), strength=0.0 if strength is None else float(strength),
        up=up, demodulate=demodulate, slope=slope, gain=gain, clamp=clamp,
    )  # fmt: skip


@torch.library.custom_op("everface::modulated_conv2d", mutates_args=(), device_types=("cpu", "cuda"))
def modulated_conv2d_kernel(  # noqa: PLR0913
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    noise: Tensor | None,
    strength: Tensor | None,
    bias: Tensor | None,
    up: bool,
    demodulate: bool,
    scalars: list[float],
) -> tuple[Tensor, Tensor]:
    """Images [n, cout, h, w] and demodulation factors [n, cout]; scalars are slope, gain and clamp."""
    y, demod = _empty_results(x, weight, up)
    layer = _layer(x, weight, styles, noise, strength, bias, up, demodulate, scalars)
    with queued(x) as stream:
        layer.forward(y=_pixels(y), demod=share(demod), stream=stream)
    return y, demod


def _empty_results(x: Tensor, weight: Tensor, up: bool) -> tuple[Tensor, Tensor]:
    n, _, h, w = x.shape
    factor = 2 if up else 1
    size = (n, weight.shape[0], h * factor, w * factor)
    y = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    return y, torch.empty((n, weight.shape[0]), dtype=weight.dtype, device=x.device)


@modulated_conv2d_kernel.register_fake
def _(x: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return _empty_results(x, weight, rest[4])


@torch.library.custom_op("everface::modulated_conv2d_backward", mutates_args=(), device_types=("cpu", "cuda"))
def _backward(  # noqa: PLR0913
    dy: Tensor,
    y: Tensor,
    demod: Tensor,
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    noise: Tensor | None,
    strength: Tensor | None,
    bias: Tensor | None,
    up: bool,
    demodulate: bool,
    scalars: list[float],
    needs: list[bool],
) -> list[Tensor]:
    """Gradients of x, weight, styles, strength and bias; those that are not needed are empty."""
    grads = _empty_gradients(x, weight, styles, needs)
    dx, dweight, dstyles, dstrength, dbias = (g if need else None for g, need in zip(grads, needs, strict=True))
    layer = _layer(x, weight, styles, noise, strength, bias, up, demodulate, scalars)
    with queued(x) as stream:
        layer.backward(
            y=_pixels(y), demod=share(demod), dy=_pixels(dy), dx=None if dx is None else _pixels(dx),
            dstyles=share(dstyles), dweight=share(dweight), dbias=share(dbias), dstrength=share(dstrength),
            stream=stream,
        )  # fmt: skip
    return grads


def _empty_gradients(x: Tensor, weight: Tensor, styles: Tensor, needs: list[bool]) -> list[Tensor]:
    size = x.shape if needs[0] else (0, 1, 1, 1)
    dx = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    sizes = (weight.shape, styles.shape, (1,), weight.shape[:1])
    return [dx, *(weight.new_empty(size if need else (0,)) for size, need in zip(sizes, needs[1:], strict=True))]


@_backward.register_fake
def _(dy: Tensor, y: Tensor, demod: Tensor, x: Tensor, weight: Tensor, styles: Tensor, *rest: Any) -> list[Tensor]:
    return _empty_gradients(x, weight, styles, rest[-1])


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    y, demod = output
    ctx.save_for_backward(y, demod, *inputs[:_TENSORS])
    ctx.mark_non_differentiable(demod)
    ctx.settings = inputs[_TENSORS:]


def _derive(ctx: Any, dy: Tensor, _: Tensor) -> tuple[Any, ...]:
    strength, bias = ctx.saved_tensors[-2:]
    x, weight, styles, _, moves, shifts = ctx.needs_input_grad[:_TENSORS]
    needs = [x, weight, styles, moves and strength is not None, shifts and bias is not None]
    grads = torch.ops.everface.modulated_conv2d_backward(dy, *ctx.saved_tensors, *ctx.settings, needs)
    dx, dw, ds, dn, db = (g if need else None for g, need in zip(grads, needs, strict=True))
    return dx, dw, ds, None, dn if dn is None else dn.reshape(strength.shape), db, None, None, None


modulated_conv2d_kernel.register_autograd(_derive, setup_context=_setup)
