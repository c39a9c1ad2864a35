"""The kernels with their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from everface import _native
from everface.engine.ops.tensors import queued, share


@dataclass(frozen=True)
class LayerSettings:
    """What a layer does with its tensors: see ``everface.engine.ops.modulated_conv.modulated_conv2d``."""

    up: bool
    demodulate: bool
    slope: float
    gain: float
    clamp: float


class ModulatedConvKernel(torch.autograd.Function):
    """Images [n, cout, h, w] of x, weight, styles, noise, strength and bias, the last three of which may be None."""

    @staticmethod
    def forward(ctx: Any, settings: LayerSettings, *tensors: Any) -> Tensor:
        """Computes the layer."""
        x, weight = tensors[:2]
        n, _, h, w = x.shape
        factor, cout = 2 if settings.up else 1, len(weight)
        y: Tensor = x.new_empty((n, h * factor, w * factor, cout)).permute(0, 3, 1, 2)
        demod = weight.new_empty((n, cout))
        with queued(x) as stream:
            _layer(settings, tensors).forward(y=_pixels(y), demod=share(demod), stream=stream)
        ctx.save_for_backward(y, demod, *tensors)
        ctx.settings = settings
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
        """First derivatives to what asks for them."""
        y, demod, *tensors = ctx.saved_tensors
        x, weight, styles, _, strength, bias = tensors
        needs = [need and one is not None for need, one in zip(ctx.needs_input_grad[1:], tensors, strict=True)]
        dx = torch.empty_like(x, memory_format=torch.channels_last) if needs[0] else None
        dweight, dstyles, dstrength, dbias = (
            one.new_empty(one.shape) if need else None
            for one, need in ((weight, needs[1]), (styles, needs[2]), (strength, needs[4]), (bias, needs[5]))
        )
        with queued(x) as stream:
            _layer(ctx.settings, tensors).backward(
                y=_pixels(y), demod=share(demod), dy=_pixels(dy), dx=None if dx is None else _pixels(dx),
                dstyles=share(dstyles), dweight=share(dweight), dbias=share(dbias),
                dstrength=None if dstrength is None else share(dstrength.view(1)), stream=stream,
            )  # fmt: skip
        return None, dx, dweight, dstyles, None, dstrength, dbias


def _layer(settings: LayerSettings, tensors: Sequence[Tensor | None]) -> _native.ModulatedConv:
    x, weight, styles, noise, strength, bias = tensors
    return _native.ModulatedConv(
        x=_pixels(x), weight=share(weight), styles=share(styles), bias=share(bias),
        noise=None if noise is None else share(noise[:, 0]), strength=0.0 if strength is None else float(strength),
        **vars(settings),
    )  # fmt: skip


def _pixels(tensor: Tensor | None) -> object:
    """Images as the kernels have them, [n, h, w, c] without gaps."""
    return None if tensor is None else share(tensor.permute(0, 2, 3, 1))
