"""How PyTorch's tensors reach the native module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils.dlpack import to_dlpack  # type: ignore[attr-defined]

from everface.engine.ops.dispatch import machine_obstacle

_TYPES = {"cpu": (torch.float32, torch.bfloat16, torch.float64), "cuda": (torch.float32, torch.bfloat16)}


def obstacle(impl: str, x: Tensor) -> str:
    """What keeps the kernels for floats on the CPU or a CUDA device from taking x, ``""`` for nothing."""
    if x.device.type != impl or x.dtype not in _TYPES[impl]:
        return f"{x.dtype} on {x.device}"
    return machine_obstacle(impl)


def real_type(dtype: torch.dtype) -> torch.dtype:
    """In which sums are taken, and styles and biases held."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def share(tensor: Tensor | None) -> object:
    """A tensor in C order as a DLPack capsule: its memory, or a copy's where it has gaps; None for None."""
    return None if tensor is None else to_dlpack(tensor.contiguous())


@contextmanager
def queued(x: Tensor) -> Iterator[int]:
    """The handle of the stream for work on x, whose CUDA device is the current one inside; 0 on the CPU."""
    if x.device.type != "cuda":
        yield 0
        return
    with torch.cuda.device(x.device):
        yield torch.cuda.current_stream().cuda_stream
