"""The kernels with their gradients, for which they march the rays again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from everface import _native
from everface.engine.ops.tensors import share

_NAMES = ("planes", "hidden_weight", "hidden_bias", "out_weight", "out_bias", "origins", "directions", "depths",
          "quantiles")  # fmt: skip
_LEARNED = 5  # the planes and the decoder's four


@dataclass(frozen=True)
class MarchSettings:
    """Column and row of each plane, the volume's side, and the shares of light that are not looked at."""

    axes: Sequence[tuple[int, int]]
    box_warp: float
    white_back: bool
    stop: float
    skip: float


class RenderVolumeKernel(torch.autograd.Function):
    """Features, depth and opacity of the tensors that ``_NAMES`` has, the last of which may be None."""

    @staticmethod
    def forward(ctx: Any, settings: MarchSettings, *tensors: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Marches the rays."""
        planes, directions = tensors[0], tensors[6]
        n, count = directions.shape[:2]
        features, depth, opacity = (planes.new_empty((n, count, width)) for width in (planes.shape[2], 1, 1))
        with _device(planes):
            rendering = _rendering(settings, tensors)
            rendering.forward(features=share(features), depth=share(depth), opacity=share(opacity))
        ctx.save_for_backward(*tensors)
        ctx.settings = settings
        return features, depth, opacity

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        """First derivatives to what asks for them."""
        tensors, needs = ctx.saved_tensors, ctx.needs_input_grad[1:]
        out = [torch.empty_like(one) if need else None for one, need in zip(tensors[:_LEARNED], needs, strict=False)]
        dfeatures, ddepth, dopacity = (share(grad) for grad in grads)
        # Nothing is skipped here: what little a sample gives to a ray may be much of a gradient that mostly cancels.
        exact = replace(ctx.settings, stop=0.0, skip=0.0)
        with _device(tensors[0]):
            _rendering(exact, tensors).backward(
                dfeatures=dfeatures, ddepth=ddepth, dopacity=dopacity,
                **{f"d{name}": share(one) for name, one in zip(_NAMES, out, strict=False)},
            )  # fmt: skip
        return None, *out, None, None, None, None


def _rendering(settings: MarchSettings, tensors: Sequence[Tensor | None]) -> _native.VolumeRendering:
    arrays: dict[str, Any] = {name: share(tensor) for name, tensor in zip(_NAMES, tensors, strict=True)}
    return _native.VolumeRendering(**arrays, **vars(settings))


@contextmanager
def _device(planes: Tensor) -> Iterator[None]:
    """On CUDA the planes' device is the current one, and pending work is done: the kernels use the default stream."""
    if planes.device.type != "cuda":
        yield
        return
    with torch.cuda.device(planes.device):
        torch.cuda.current_stream().synchronize()
        yield
