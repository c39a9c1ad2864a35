"""Which implementation of an operator runs, and how tensors reach the native module."""

from __future__ import annotations

import functools
import logging

import torch
from torch import Tensor

from everface import _native
from everface.engine.errors import MissingBackendError, UsageError

__all__ = ["IMPLEMENTATIONS", "NATIVE_SUFFIX", "address", "call_native", "choose", "is_channels_last", "real_type"]

IMPLEMENTATIONS = ("auto", "reference", "cpu", "cuda")
NATIVE_SUFFIX = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float64: "f64"}
_CUDA_TYPES = (torch.float32, torch.bfloat16)
_log = logging.getLogger(__name__)


def choose(operator: str, x: Tensor, impl: str, *, needs: str = "", fits: bool = True) -> str:
    """The implementation for x: the named one, or for ``"auto"`` the CPU kernel where it can run.

    CUDA kernels run when they are named: they have not been verified on a device yet.

    Args:
        operator: its name, for the log, which tells each choice once.
        x: what it works on.
        impl: one of :data:`IMPLEMENTATIONS`; a named one never falls back to another.
        needs: what else the kernels ask for, in words.
        fits: whether that is so.

    Raises:
        UsageError: an unknown name.
        MissingBackendError: the named implementation cannot run here.
    """
    if impl not in IMPLEMENTATIONS:
        raise UsageError("impl", expected=" or ".join(IMPLEMENTATIONS), found=repr(impl), remedy="choose one of them")
    on_cpu = x.device.type == "cpu" and x.dtype in NATIVE_SUFFIX and fits
    if impl == "auto":
        impl = "cpu" if on_cpu else "reference"
        _told(operator, impl, x.device.type, x.dtype)
    if impl == "cpu" and not on_cpu:
        expected = f"float32, bfloat16 or float64 on the CPU{needs and ' and '}{needs}"
        raise MissingBackendError(
            "impl='cpu'", expected=expected, found=f"{x.dtype} on {x.device}", remedy="use impl='auto' or 'reference'"
        )
    if impl == "cuda" and not (x.device.type == "cuda" and x.dtype in _CUDA_TYPES and fits and _native.cuda_compiled()):
        raise MissingBackendError(
            "impl='cuda'",
            expected=f"float32 or bfloat16 on a CUDA device, a build with nvcc{needs and ' and '}{needs}",
            found=f"{x.dtype} on {x.device}; {_native.cuda_status()[1]}", remedy="use impl='auto' or 'reference'",
        )  # fmt: skip
    return impl


@functools.cache
def _told(operator: str, choice: str, device: str, dtype: torch.dtype) -> None:
    _log.info("%s on %s %s runs as %s", operator, device, dtype, choice)


def real_type(dtype: torch.dtype) -> torch.dtype:
    """In which sums are taken, and filters and biases held."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def is_channels_last(x: Tensor) -> bool:
    """Whether [N, C, H, W] lies pixel by pixel; where both layouts fit, the answer is no."""
    return not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def call_native(name: str, x: Tensor, *arguments: object) -> None:
    """Calls the native function for x's type and device; one on a device is queued on the current stream."""
    suffix = NATIVE_SUFFIX[x.dtype]
    if x.device.type != "cuda":
        getattr(_native, f"{name}_{suffix}")(*arguments)
        return
    with torch.cuda.device(x.device):
        getattr(_native, f"{name}_cuda_{suffix}")(*arguments, torch.cuda.current_stream().cuda_stream)


def address(tensor: Tensor | None) -> int:
    """Of its first element, 0 for None."""
    return 0 if tensor is None else tensor.data_ptr()
