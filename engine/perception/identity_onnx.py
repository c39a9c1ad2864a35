"""dlib's face recognition ResNet (``.identity``) run by ONNX Runtime: the same asset, without PyTorch."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from everface.engine.assets import asset_path
from everface.engine.errors import UsageError
from everface.engine.onnx_network import NetworkBuilder, dequantised
from everface.engine.perception.chips import (
    CHIP,
    CHIP_CENTRE,
    CHIP_CROP_SCALE,
    CHIP_MEAN,
    CHIP_WIDTH,
    RESIDUALS,
)
from everface.engine.perception.sampling import cutting, resampled
from everface.engine.pictures import to_floats


class OnnxIdentity:
    """Descriptors [n, 128] of aligned faces; see ``everface.engine.perception.identity.IdentityEmbedder``.

    Args:
        crop_scale: the images' FFHQ crop scale.
        threads: of ONNX Runtime.
    """

    def __init__(self, crop_scale: float = 0.8, threads: int = 2) -> None:
        if not 0.5 <= crop_scale <= 2.0:
            remedy = "pass the photos' scale"
            raise UsageError("crop_scale", expected="0.5 to 2.0", found=f"{crop_scale}", remedy=remedy)
        self.crop_scale = crop_scale
        stored = load_file(asset_path("identity.safetensors"))
        renamed = {
            f"{name.removesuffix('.scale')}.weight.scale" if name.endswith(".scale") else name: array
            for name, array in stored.items()
        }
        weights = dequantised(renamed)
        builder = NetworkBuilder(weights)
        self._output = _descriptor(builder, {name: array.shape for name, array in weights.items()})
        self._session = builder.session(self._output, (3, CHIP, CHIP), threads)

    def __call__(self, images: NDArray[np.uint8] | NDArray[np.float32], batch: int = 4) -> NDArray[np.float32]:
        """Descriptors [n, 128] of faces [n, R, R, 3] aligned with this crop scale, uint8, or float32 in [-1, 1]."""
        parts = [np.zeros((0, 128), np.float32)]
        for first in range(0, len(images), batch):
            chips = self.chips(to_floats(images[first : first + batch]))
            inputs = {"x": np.ascontiguousarray(chips.transpose(0, 3, 1, 2))}
            parts.append(np.asarray(self._session.run([self._output], inputs)[0], np.float32))
        return np.concatenate(parts)

    def chips(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """dlib's face chips [n, 150, 150, 3] in 0..255 of aligned images in [-1, 1]; what lies outside is mirrored."""
        width = CHIP_WIDTH * CHIP_CROP_SCALE / self.crop_scale
        bicubic = images.shape[1] < CHIP
        factor = math.floor(images.shape[1] / (2 * CHIP / width))
        if factor > 1:
            images = _block_means(images, factor)
        side = images.shape[1]
        across, down = (2 * (c - 0.5) * CHIP_CROP_SCALE / self.crop_scale for c in CHIP_CENTRE)
        rows = cutting(side, CHIP, down, width, bicubic=bicubic)
        columns = cutting(side, CHIP, across, width, bicubic=bicubic)
        return np.asarray((resampled(images, rows, columns).clip(-1, 1) + 1) * 127.5, np.float32)


def _block_means(images: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    n, side, _, channels = images.shape
    small = side // factor
    blocks = images[:, : small * factor, : small * factor].reshape(n, small, factor, small, factor, channels)
    return np.asarray(blocks.mean(axis=(2, 4)), np.float32)


def _descriptor(builder: NetworkBuilder, shapes: dict[str, tuple[int, ...]]) -> str:
    mean = builder.constant(np.array(CHIP_MEAN, np.float32).reshape(1, 3, 1, 1))
    x = builder.node("Mul", builder.node("Sub", "x", mean), builder.constant(np.array(1 / 256, np.float32)))
    x = builder.node("Relu", builder.conv(x, "conv32_down", stride=2))
    x = builder.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    kernel = shapes["conv32_down.weight"][-1]
    side, channels = ((CHIP - kernel) // 2 + 1 - 3) // 2 + 1, shapes["conv32_down.weight"][0]
    for block in RESIDUALS:
        width = shapes[f"{block}.conv2.weight"][0]
        x, side = _residual(builder, x, block, (channels, side, width))
        channels = width
    x = builder.node("Flatten", builder.node("GlobalAveragePool", x))
    return builder.node("Gemm", x, builder.weight("fc.weight"), transB=1)


def _residual(builder: NetworkBuilder, x: str, block: str, sizes: tuple[int, int, int]) -> tuple[str, int]:
    """The result and its side, from an input of sizes (channels, side) to a width."""
    channels, side, width = sizes
    down = "down" in block
    y = builder.conv(x, f"{block}.conv1", stride=2 if down else 1, padding=0 if down else 1)
    y = builder.conv(builder.node("Relu", y), f"{block}.conv2", padding=1)
    if not down:
        return builder.node("Relu", builder.node("Add", x, y)), side
    x = builder.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    # dlib adds tensors of unequal size as if the smaller were padded with zeros at its end.
    ours, other = (side - 3) // 2 + 1, side // 2
    most = max(ours, other)
    x = _padded(builder, x, width - channels, most - other)
    y = _padded(builder, y, 0, most - ours)
    return builder.node("Relu", builder.node("Add", x, y)), most


def _padded(builder: NetworkBuilder, x: str, channels: int, side: int) -> str:
    if not channels and not side:
        return x
    ends = np.array([0, 0, 0, 0, 0, channels, side, side], np.int64)
    return builder.node("Pad", x, builder.constant(ends))
