"""Resampling with a separable FIR filter as one operator; its derivatives of any order are itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from everface.engine.errors import UsageError
from everface.engine.ops.choice import call_native, choose, is_channels_last, real_type
from everface.engine.ops.reference import upfirdn2d_reference

__all__ = ["upfirdn2d"]

_MAX_FACTOR, _MAX_TAPS = 64, 1024


def upfirdn2d(
    x: Tensor, taps: Tensor, *, up: int = 1, down: int = 1, padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    impl: str = "auto",
) -> Tensor:  # fmt: skip
    """Inserts zeros, pads or crops, filters with a separable FIR (a convolution), drops samples.

    StyleGAN2's up- and downsampling of images and skips (Karras et al. 2020, arXiv 1912.04958, appendix B).

    Args:
        x: ``[N, C, H, W]``, float32, bfloat16 or float64, contiguous or channels-last (both without a copy).
        taps: ``[K]``, the filter along each axis; it gets no gradient.
        up: each sample is followed by ``up - 1`` zeros.
        down: every ``down``-th result is kept.
        padding: left, right, top, bottom in samples of the upsampled image; negative crops.
        impl: ``"auto"``, ``"reference"``, ``"cpu"`` or ``"cuda"``; a named one never falls back to another.

    Returns:
        ``[N, C, (H up + top + bottom - K) // down + 1, (W up + left + right - K) // down + 1]`` in x's type and layout.

    Raises:
        UsageError: an argument is outside of its contract.
        MissingBackendError: a named implementation cannot run here.
    """
    _check(x, taps, up, down, padding)
    filter_ = taps.detach().to(device=x.device, dtype=real_type(x.dtype))
    if choose("upfirdn2d", x, impl) == "reference":
        return upfirdn2d_reference(x, filter_, up=up, down=down, padding=padding)
    result: Tensor = torch.ops.everface.upfirdn2d(x, filter_, up, down, list(padding))
    return result


def _sizes(x: Tensor, count: int, up: int, down: int, padding: list[int]) -> tuple[int, int]:
    left, right, top, bottom = padding
    height, width = x.shape[2] * up + top + bottom - count, x.shape[3] * up + left + right - count
    return height // down + 1, width // down + 1


def _check(x: Tensor, taps: Tensor, up: int, down: int, padding: tuple[int, int, int, int]) -> None:
    if x.ndim != 4 or not x.dtype.is_floating_point:
        raise UsageError("x", expected="floats [N, C, H, W]", found=f"{x.dtype} {tuple(x.shape)}", remedy="reshape it")
    if taps.ndim != 1 or not 1 <= len(taps) <= _MAX_TAPS or not taps.dtype.is_floating_point:
        found = f"{taps.dtype} {tuple(taps.shape)}"
        raise UsageError(
            "taps", expected=f"1 to {_MAX_TAPS} floats", found=found, remedy="pass a filter along one axis"
        )
    for name, factor in (("up", up), ("down", down)):
        if not isinstance(factor, int) or not 1 <= factor <= _MAX_FACTOR:
            raise UsageError(name, expected=f"1 to {_MAX_FACTOR}", found=repr(factor), remedy="resample in steps")
    if len(padding) != 4 or any(not isinstance(one, int) or abs(one) > 1 << 20 for one in padding):
        raise UsageError(
            "padding", expected="left, right, top, bottom", found=repr(padding), remedy="pass four integers"
        )
    left, right, top, bottom = padding
    sides = (x.shape[2] * up + top + bottom, x.shape[3] * up + left + right)
    crops = min(x.shape[2] * up + min(top, 0) + min(bottom, 0), x.shape[3] * up + min(left, 0) + min(right, 0))
    if min(sides) < len(taps) or crops < 0:
        found = f"{sides} for {len(taps)} taps"
        raise UsageError("padding", expected="an image as large as the filter", found=found, remedy="pad more")


@torch.library.custom_op("everface::upfirdn2d", mutates_args=(), device_types=("cpu", "cuda"))
def _upfirdn2d(x: Tensor, taps: Tensor, up: int, down: int, padding: list[int]) -> Tensor:
    last = is_channels_last(x)
    x = x if last else x.contiguous()
    taps = taps.contiguous()
    y: Tensor = _empty_result(x, taps, up, down, padding)
    n, c, h, w = x.shape
    geometry = [up, down, padding[0], padding[2], len(taps)]
    addresses = [x.data_ptr(), taps.data_ptr(), y.data_ptr()]
    call_native("upfirdn2d", x, [n, c, h, w, *y.shape[2:]], geometry, last, addresses)
    return y


@_upfirdn2d.register_fake
def _empty_result(x: Tensor, taps: Tensor, up: int, down: int, padding: list[int]) -> Tensor:
    layout = torch.channels_last if is_channels_last(x) else torch.contiguous_format
    size = (*x.shape[:2], *_sizes(x, len(taps), up, down, padding))
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=layout)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, taps, up, down, padding = inputs
    ctx.save_for_backward(taps)
    ctx.sizes, ctx.results = x.shape[2:], output.shape[2:]
    ctx.up, ctx.down, ctx.padding = up, down, padding


def _derive(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    """The transpose: the factors change places, the filter is turned round, and margins make up the size."""
    (taps,) = ctx.saved_tensors
    count = len(taps)
    (h, w), (oh, ow) = ctx.sizes, ctx.results
    left, top = count - 1 - ctx.padding[0], count - 1 - ctx.padding[2]
    right = (w - 1) * ctx.up + count - ow * ctx.down - left
    bottom = (h - 1) * ctx.up + count - oh * ctx.down - top
    dx: Tensor = torch.ops.everface.upfirdn2d(dy, taps.flip(0), ctx.down, ctx.up, [left, right, top, bottom])
    return dx, None, None, None, None


_upfirdn2d.register_autograd(_derive, setup_context=_setup)
