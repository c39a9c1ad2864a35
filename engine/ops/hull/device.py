"""Query rows for the CUDA kernels: tensors that are on the device are read there, all else is copied from the host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from everface.engine.errors import UsageError

__all__ = ["device_rows", "on_cuda"]


def on_cuda(array: object) -> bool:
    """True for a tensor in a CUDA device's memory."""
    return bool(getattr(array, "is_cuda", False))


@contextmanager
def device_rows(queries: object) -> Iterator[tuple[int, tuple[int, ...], bool]]:
    """The address of float64 rows without gaps, valid inside the context; their shape; whether they were float32.

    A CUDA tensor's device is the current one inside, and its pending work is done.

    Raises:
        UsageError: not real numbers, a tensor with gradients, NaN or infinity.
    """
    if on_cuda(queries):
        with _tensor_rows(queries) as found:
            yield found
        return
    try:
        given = np.asarray(queries)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError("queries", expected="an array [n, dimensions]", found=str(error)) from error
    if given.dtype.kind not in "fiu":
        raise UsageError("queries", expected="real numbers", found=f"type {given.dtype}")
    rows = np.ascontiguousarray(given, dtype=np.float64)
    if not np.isfinite(rows).all():
        raise _not_finite()
    yield rows.ctypes.data, rows.shape, given.dtype == np.float32


@contextmanager
def _tensor_rows(queries: Any) -> Iterator[tuple[int, tuple[int, ...], bool]]:
    import torch

    if queries.requires_grad:
        remedy = "detach it, or use hull_distance for gradients"
        raise UsageError(
            "queries", expected="a tensor without gradients", found="one that asks for them", remedy=remedy
        )
    if queries.is_complex() or queries.dtype == torch.bool:
        raise UsageError("queries", expected="real numbers", found=f"type {queries.dtype}")
    with torch.cuda.device(queries.device):
        rows = queries.to(torch.float64).contiguous()
        if not bool(torch.isfinite(rows).all()):
            raise _not_finite()
        torch.cuda.current_stream().synchronize()  # the kernels run on the default stream
        yield rows.data_ptr(), tuple(rows.shape), queries.dtype == torch.float32


def _not_finite() -> UsageError:
    return UsageError("queries", expected="finite numbers", found="NaN or infinity")
