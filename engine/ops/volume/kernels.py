"""The kernels as a PyTorch operator, with its gradients, for which they march the rays again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from everface import _native
from everface.engine.ops.tensors import share

_TENSORS = 9  # planes, the decoder's four, origins, directions, depths, quantiles
_NAMES = ("planes", "hidden_weight", "hidden_bias", "out_weight", "out_bias", "origins", "directions", "depths")


def _rendering(
    tensors: Sequence[Tensor], quantiles: Tensor | None, axes: Sequence[int], scalars: Sequence[float], white_back: bool
) -> _native.VolumeRendering:
    box_warp, stop, skip = scalars
    return _native.VolumeRendering(
        **{name: share(tensor) for name, tensor in zip(_NAMES, tensors, strict=True)}, quantiles=share(quantiles),
        axes=((axes[0], axes[1]), (axes[2], axes[3]), (axes[4], axes[5])), box_warp=box_warp, white_back=white_back,
        stop=stop, skip=skip,
    )  # fmt: skip


@contextmanager
def _device(planes: Tensor) -> Any:
    """On CUDA the planes' device is the current one, and pending work is done: the kernels use the default stream."""
    if planes.device.type != "cuda":
        yield
        return
    with torch.cuda.device(planes.device):
        torch.cuda.current_stream().synchronize()
        yield


def _empty(planes: Tensor, directions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    n, count = directions.shape[:2]
    empty = planes.new_empty
    return empty((n, count, planes.shape[2])), empty((n, count, 1)), empty((n, count, 1))


@torch.library.custom_op("everface::render_volume", mutates_args=(), device_types=("cpu", "cuda"))
def render_volume_kernel(  # noqa: PLR0913
    planes: Tensor,
    hidden_weight: Tensor,
    hidden_bias: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    origins: Tensor,
    directions: Tensor,
    depths: Tensor,
    quantiles: Tensor | None,
    axes: list[int],
    scalars: list[float],
    white_back: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Features, depth and opacity; axes are column and row of each plane, scalars box_warp, stop and skip."""
    tensors = (planes, hidden_weight, hidden_bias, out_weight, out_bias, origins, directions, depths)
    features, depth, opacity = out = _empty(planes, directions)
    with _device(planes):
        rendering = _rendering(tensors, quantiles, axes, scalars, white_back)
        rendering.forward(features=share(features), depth=share(depth), opacity=share(opacity))
    return out


@render_volume_kernel.register_fake
def _(planes: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _empty(planes, rest[5])


@torch.library.custom_op("everface::render_volume_backward", mutates_args=(), device_types=("cpu", "cuda"))
def _backward(
    grads: list[Tensor], tensors: list[Tensor], quantiles: Tensor | None, axes: list[int], scalars: list[float],
    white_back: bool, needs: list[bool],
) -> list[Tensor]:  # fmt: skip
    """Gradients of the planes and the decoder's four tensors; those that are not needed are empty."""
    out = _empty_gradients(tensors, needs)
    wanted = {f"d{name}": share(g) for name, g, need in zip(_NAMES, out, needs, strict=False) if need}
    dfeatures, ddepth, dopacity = (share(grad) for grad in grads)
    with _device(tensors[0]):
        rendering = _rendering(tensors, quantiles, axes, scalars, white_back)
        rendering.backward(dfeatures=dfeatures, ddepth=ddepth, dopacity=dopacity, **wanted)
    return out


def _empty_gradients(tensors: list[Tensor], needs: list[bool]) -> list[Tensor]:
    return [one.new_empty(one.shape if needed else (0,)) for one, needed in zip(tensors[:5], needs, strict=True)]


@_backward.register_fake
def _(grads: list[Tensor], tensors: list[Tensor], *rest: Any) -> list[Tensor]:
    return _empty_gradients(tensors, rest[-1])


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:_TENSORS])
    ctx.axes, ctx.scalars, ctx.white_back = inputs[_TENSORS:]


def _derive(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
    *tensors, quantiles = ctx.saved_tensors
    needs = list(ctx.needs_input_grad[:5])
    # Nothing is skipped here: what little a sample gives to a ray may be much of a gradient that mostly cancels.
    exact = [ctx.scalars[0], 0.0, 0.0]
    out = torch.ops.everface.render_volume_backward(
        list(grads), tensors, quantiles, ctx.axes, exact, ctx.white_back, needs
    )
    return (*(one if needed else None for one, needed in zip(out, needs, strict=True)), *(None,) * 7)


render_volume_kernel.register_autograd(_derive, setup_context=_setup)
