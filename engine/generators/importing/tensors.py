"""From references to tensors: the only place that reads numbers from a checkpoint."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from everface.engine.generators.importing.limits import refuse
from everface.engine.generators.importing.storages import ITEM_BYTES
from everface.engine.generators.importing.values import TensorRef

__all__ = ["read_tensors"]

_WEIGHTS = {"float64", "float32", "float16", "bfloat16"}
_BITS = {8: np.uint64, 4: np.uint32, 2: np.uint16}
_SIGNED = {8: np.int64, 4: np.int32, 2: np.int16}


def read_tensors(references: dict[str, TensorRef], file_bytes: int) -> dict[str, Tensor]:
    """Reads tensors, as float32.

    Args:
        references: by name.
        file_bytes: size of the file; all tensors together may hold no more numbers than it has bytes for.

    Raises:
        CheckpointError: a tensor is not of floating-point numbers, reaches beyond its storage, or they are too many.
    """
    total = 0
    for name, reference in references.items():
        _check(name, reference)
        total += math.prod(reference.size) * ITEM_BYTES[reference.storage.dtype]
        if total > file_bytes:
            raise refuse("tensors of their own", "tensors that share storages, larger together than the file")
    return {name: _read(reference) for name, reference in references.items()}


def _check(name: str, reference: TensorRef) -> None:
    storage, sizes = reference.storage, reference.size
    if storage.dtype not in _WEIGHTS:
        raise refuse(f"floating-point numbers in {name[:80]}", storage.dtype)
    if storage.data is None or len(storage.data) < storage.numel * ITEM_BYTES[storage.dtype]:
        raise refuse("a whole file", f"no numbers of {name[:80]}")
    count = math.prod(sizes)
    last = reference.offset + sum((size - 1) * step for size, step in zip(sizes, reference.stride, strict=True))
    # A stride of zero would make much of little.
    if not 0 < count <= storage.numel or last >= storage.numel:
        found = f"{sizes} with strides {reference.stride} at {reference.offset} of {storage.numel} numbers"
        raise refuse(f"{name[:80]} within its storage", found)


def _read(reference: TensorRef) -> Tensor:
    storage = reference.storage
    width = ITEM_BYTES[storage.dtype]
    numbers = np.frombuffer(storage.data or b"", dtype=_BITS[width], count=storage.numel)
    # The stride of a dimension of size one says nothing, and may be any number.
    steps = [step * width if size > 1 else 0 for size, step in zip(reference.size, reference.stride, strict=True)]
    view = np.lib.stride_tricks.as_strided(numbers[reference.offset :], reference.size, steps, writeable=False)
    bits = torch.from_numpy(np.array(view, dtype=_BITS[width], order="C").view(_SIGNED[width]))
    return bits.view(getattr(torch, storage.dtype)).float()
