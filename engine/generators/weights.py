"""Weight files: safetensors as named NumPy arrays and text, so that nothing in a file can run; without PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from everface.engine.errors import CheckpointError

Arrays = dict[str, NDArray[Any]]
_MAX_HEADER_BYTES = 16 * 1024**2
_REMEDY = "pass a generator written by `everface import` or `everface pretrain`"
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1",
    "U16": "<u2", "U32": "<u4", "U64": "<u8", "BOOL": "?",
}  # fmt: skip


def read_metadata(data: bytes | memoryview, subject: str) -> dict[str, str]:
    """The text entries of a safetensors file.

    Args:
        data: the whole file, of which only the header is looked at.
        subject: what to call it in errors.

    Raises:
        CheckpointError: it is not one.
    """
    size = int.from_bytes(data[:8], "little") if len(data) >= 8 else -1
    if not 0 < size <= min(len(data) - 8, _MAX_HEADER_BYTES):
        found = f"{len(data)} bytes of another kind"
        raise CheckpointError(subject, expected="a safetensors file", found=found, remedy=_REMEDY)
    try:
        # As text: given bytes, json would guess UTF-16 and load codecs for it.
        metadata = json.loads(str(data[8 : 8 + size], "utf-8")).get("__metadata__", {})
        return {str(key): str(value) for key, value in metadata.items()}
    except (ValueError, AttributeError, RecursionError) as error:
        expected, found = "a safetensors header", "none that can be read"
        raise CheckpointError(subject, expected=expected, found=found, remedy=_REMEDY) from error


def read_arrays(data: bytes | memoryview, subject: str) -> Arrays:
    """The arrays of a safetensors file by name, in the types that they are stored in; bfloat16 becomes float32.

    Raises:
        CheckpointError: not a whole safetensors file, or one with numbers of another type.
    """
    try:
        entries = safetensors.deserialize(bytes(data))  # type: ignore[no-untyped-call]
        return {name: _array(entry) for name, entry in sorted(entries)}
    except (safetensors.SafetensorError, ValueError, KeyError, RuntimeError) as error:
        found = " ".join(str(error).split())[:160]
        raise CheckpointError(subject, expected="a complete safetensors file", found=found) from error


def _array(entry: dict[str, Any]) -> NDArray[Any]:
    if entry["dtype"] == "BF16":
        # A bfloat16 is the upper half of a float32.
        upper = np.frombuffer(entry["data"], "<u2").astype(np.uint32) << 16
        return upper.view(np.float32).reshape(entry["shape"])
    return np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).reshape(entry["shape"])


def finite_float32(arrays: Mapping[str, NDArray[Any]], subject: str) -> dict[str, NDArray[np.float32]]:
    """The arrays in float32.

    Raises:
        CheckpointError: one is not of finite floating-point numbers.
    """
    weights = {}
    for name, array in arrays.items():
        if not np.issubdtype(array.dtype, np.floating):
            raise CheckpointError(f"{subject}: {name}", expected="floating-point numbers", found=str(array.dtype))
        if not np.isfinite(array).all():
            raise CheckpointError(f"{subject}: {name}", expected="finite weights", found="NaN or infinity")
        weights[name] = array.astype(np.float32)
    return weights


def check_shapes(shapes: Mapping[str, tuple[int, ...]], arrays: Mapping[str, NDArray[Any]], subject: str) -> None:
    """Checks that arrays have exactly the names and shapes that they should have, and are floating-point.

    Raises:
        CheckpointError: they have not.
    """
    if missing := sorted(shapes.keys() - arrays.keys()):
        raise CheckpointError(subject, expected=f"{len(shapes)} tensors", found=f"none named {missing[0]}")
    if extra := sorted(arrays.keys() - shapes.keys()):
        raise CheckpointError(subject, expected=f"{len(shapes)} tensors", found=f"one more, {extra[0]}")
    for name, array in arrays.items():
        if array.shape != shapes[name] or not np.issubdtype(array.dtype, np.floating):
            found = f"{array.shape} {array.dtype}"
            raise CheckpointError(f"{subject}: {name}", expected=f"floating-point {shapes[name]}", found=found)


def pack_arrays(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Writes finite arrays and text as safetensors bytes, the same bytes for the same content.

    Raises:
        CheckpointError: an array is not finite.
    """
    for name, array in arrays.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise CheckpointError(name, expected="finite weights", found="NaN or infinity", remedy="tune more gently")
    # Not ascontiguousarray, which makes a vector of a scalar.
    dense = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    data = bytes(safetensors.numpy.save(dense, dict(metadata)))
    # The library writes metadata in a random order; in a fixed one, equal models have equal hashes.
    size = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return b"".join((len(header).to_bytes(8, "little"), header, memoryview(data)[8 + size :]))
