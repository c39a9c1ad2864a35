"""Numerical settings of this processor: which precision is fast here, and none of the slow numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def compute_dtype() -> torch.dtype:
    """bfloat16 where the processor multiplies it natively, float32 elsewhere."""
    native = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    wide = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native and wide else torch.float32


def narrow(device: torch.device) -> torch.autocast:
    """Autocast to this processor's fast precision; on a GPU to nothing else."""
    dtype = compute_dtype()
    return torch.autocast("cpu", dtype, enabled=device.type == "cpu" and dtype != torch.float32)


@contextmanager
def fast_numerics() -> Iterator[None]:
    """Flushes denormals to zero: as weights and moments decay they would halve the speed of a long run."""
    # PyTorch offers no way to ask for the present setting; off is its default.
    flushed = torch.set_flush_denormal(True)
    try:
        yield
    finally:
        if flushed:
            torch.set_flush_denormal(False)
