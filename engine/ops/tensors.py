"""How PyTorch's tensors reach the native module."""

from __future__ import annotations

import torch
from torch import Tensor

from everface import _native
from everface.engine.ops.dispatch import machine_obstacle

__all__ = ["address", "call_native", "obstacle", "real_type"]

_SUFFIX = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float64: "f64"}
_CUDA_TYPES = (torch.float32, torch.bfloat16)


def obstacle(impl: str, x: Tensor) -> str:
    """What keeps the kernels for floats on the CPU or a CUDA device from taking x, ``""`` for nothing."""
    types = _CUDA_TYPES if impl == "cuda" else tuple(_SUFFIX)
    if x.device.type != impl or x.dtype not in types:
        return f"{x.dtype} on {x.device}"
    return machine_obstacle(impl)


def real_type(dtype: torch.dtype) -> torch.dtype:
    """In which sums are taken, and filters and biases held."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def call_native(name: str, x: Tensor, *arguments: object) -> None:
    """Calls the native function for x's type and device; one on a device is queued on the current stream."""
    suffix = _SUFFIX[x.dtype]
    if x.device.type != "cuda":
        getattr(_native, f"{name}_{suffix}")(*arguments)
        return
    with torch.cuda.device(x.device):
        getattr(_native, f"{name}_cuda_{suffix}")(*arguments, torch.cuda.current_stream().cuda_stream)


def address(tensor: Tensor | None) -> int:
    """Of its first element, 0 for None."""
    return 0 if tensor is None else tensor.data_ptr()
