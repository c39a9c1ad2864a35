"""From references to arrays: the only place that reads numbers from a checkpoint."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from everface.engine.generators.importing.limits import refuse
from everface.engine.generators.importing.storages import ITEM_BYTES
from everface.engine.generators.importing.values import TensorRef

Array = NDArray[np.float32]
_TYPES = {"float64": "<f8", "float32": "<f4", "float16": "<f2", "bfloat16": "<u2"}


def read_tensors(references: dict[str, TensorRef], file_bytes: int) -> dict[str, Array]:
    """Reads tensors, as float32 arrays.

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
    if storage.dtype not in _TYPES:
        raise refuse(f"floating-point numbers in {name[:80]}", storage.dtype)
    if storage.data is None or len(storage.data) < storage.numel * ITEM_BYTES[storage.dtype]:
        raise refuse("a whole file", f"no numbers of {name[:80]}")
    count = math.prod(sizes)
    last = reference.offset + sum((size - 1) * step for size, step in zip(sizes, reference.stride, strict=True))
    # A stride of zero would make much of little.
    if not 0 < count <= storage.numel or last >= storage.numel:
        found = f"{sizes} with strides {reference.stride} at {reference.offset} of {storage.numel} numbers"
        raise refuse(f"{name[:80]} within its storage", found)


def _read(reference: TensorRef) -> Array:
    storage = reference.storage
    numbers = np.frombuffer(storage.data or b"", dtype=_TYPES[storage.dtype], count=storage.numel)
    # The stride of a dimension of size one says nothing, and may be any number.
    width = numbers.itemsize
    steps = [step * width if size > 1 else 0 for size, step in zip(reference.size, reference.stride, strict=True)]
    view = np.lib.stride_tricks.as_strided(numbers[reference.offset :], reference.size, steps, writeable=False)
    if storage.dtype == "bfloat16":
        # The upper half of a float32.
        return np.asarray(np.left_shift(view, 16, dtype=np.uint32)).view(np.float32)
    with np.errstate(over="ignore"):
        return np.array(view, np.float32, order="C")
