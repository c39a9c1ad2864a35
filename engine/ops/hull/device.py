"""Query rows for the CUDA kernels: tensors that are on the device are read there, all else is copied from the host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from everface.engine.errors import UsageError


def on_cuda(array: object) -> bool:
    """True for a tensor in a CUDA device's memory."""
    return bool(getattr(array, "is_cuda", False))


@contextmanager
def device_rows(queries: object, dimension: int) -> Iterator[tuple[object, bool]]:
    """Float64 rows [n, dimension] without gaps, as an array or a DLPack capsule, and whether they were float32.

    A CUDA tensor's device is the current one inside, and its pending work is done.

    Raises:
        UsageError: not real numbers, another shape, a tensor with gradients, NaN or infinity.
    """
    if on_cuda(queries):
        with _tensor_rows(queries, dimension) as found:
            yield found
        return
    try:
        given = np.asarray(queries)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError("queries", expected="an array [n, dimensions]", found=str(error)) from error
    if given.dtype.kind not in "fiu":
        raise UsageError("queries", expected="real numbers", found=f"type {given.dtype}")
    rows = np.ascontiguousarray(given, dtype=np.float64)
    _check(rows.shape, dimension, finite=bool(np.isfinite(rows).all()))
    yield rows, given.dtype == np.float32


@contextmanager
def _tensor_rows(queries: Any, dimension: int) -> Iterator[tuple[object, bool]]:  # pragma: no cover (a CUDA tensor)
    import torch

    from everface.engine.ops.tensors import share

    if queries.requires_grad:
        raise UsageError(
            "queries", expected="a tensor without gradients", found="one that asks for them", remedy="detach it"
        )
    if queries.is_complex() or queries.dtype == torch.bool:
        raise UsageError("queries", expected="real numbers", found=f"type {queries.dtype}")
    with torch.cuda.device(queries.device):
        rows = queries.to(torch.float64).contiguous()
        _check(tuple(rows.shape), dimension, finite=bool(torch.isfinite(rows).all()))
        torch.cuda.current_stream().synchronize()  # the kernels run on the default stream
        yield share(rows), queries.dtype == torch.float32


def _check(shape: tuple[int, ...], dimension: int, *, finite: bool) -> None:
    if len(shape) != 2 or shape[1] != dimension:
        raise UsageError("queries", expected=f"an array [n, {dimension}]", found=f"shape {shape}")
    if not finite:
        raise UsageError("queries", expected="finite numbers", found="NaN or infinity")
