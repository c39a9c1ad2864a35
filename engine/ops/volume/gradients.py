"""Derivatives of :mod:`everface.engine.ops.volume`: by the kernels, which march the rays again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from everface.engine.ops.volume.operator import _forward, render_volume

__all__ = ["render_volume"]

_TENSORS = 9  # planes, the decoder's four, origins, directions, depths, quantiles


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:_TENSORS])
    ctx.axes, ctx.scalars, ctx.white_back = inputs[_TENSORS:]


def _derive(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
    needs = list(ctx.needs_input_grad[:5])
    # Nothing is skipped here: what little a sample gives to a ray may be much of a gradient that mostly cancels.
    exact = [ctx.scalars[0], 0.0, 0.0]
    found = torch.ops.everface.render_volume_backward(
        list(grads), list(ctx.saved_tensors), ctx.axes, exact, ctx.white_back, needs
    )
    return (*(one if needed else None for one, needed in zip(found, needs, strict=True)), *(None,) * 7)


_forward.register_autograd(_derive, setup_context=_setup)
