"""The encoder (``.encoder``) run by ONNX Runtime: the same file, without PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import CheckpointError
from everface.engine.generators.weights import finite_float32, read_arrays
from everface.engine.onnx_network import NetworkBuilder, dequantised
from everface.engine.perception.sampling import resampled, shrinking

_GROUPS = 8


class OnnxEncoder:
    """Aligned photos to W codes in one pass.

    Args:
        data: the whole file, as written by ``everface pretrain``.
        subject: what to call it in errors.
        threads: of ONNX Runtime.

    Raises:
        CheckpointError: not such a file.
    """

    def __init__(self, data: bytes, subject: str, threads: int = 2) -> None:
        weights = finite_float32(dequantised(read_arrays(data, subject)), subject)
        try:
            self.side = 2 ** (len(_stages(weights)) + 2)
            builder = NetworkBuilder(weights)
            code = _code(builder, weights)
            self._session = builder.session(code, (3, self.side, self.side), threads)
        except CheckpointError:
            raise
        except Exception as error:  # ONNX Runtime raises its own, unrelated classes
            found = " ".join(str(error).split())[:200]
            raise CheckpointError(subject, expected="an encoder of `everface pretrain`", found=found) from error
        self._output = code

    def __call__(self, images: NDArray[np.uint8], batch: int = 4) -> NDArray[np.float32]:
        """W codes [n, w_dim] of photos [n, R, R, 3], n at least 1."""
        matrix = shrinking(images.shape[1], self.side)
        parts = []
        for first in range(0, len(images), batch):
            photos = images[first : first + batch].astype(np.float32) / 127.5 - 1
            if photos.shape[1] != self.side:
                photos = resampled(photos, matrix, matrix)
            inputs = {"x": np.ascontiguousarray(photos.transpose(0, 3, 1, 2))}
            parts.append(np.asarray(self._session.run([self._output], inputs)[0], np.float32))
        return np.concatenate(parts)


def _stages(weights: dict[str, NDArray[np.float32]]) -> list[int]:
    """Channels of each halving."""
    channels: list[int] = []
    while (name := f"blocks.{2 * len(channels)}.c1.weight") in weights:
        channels.append(weights[name].shape[0])
    return channels


def _code(builder: NetworkBuilder, weights: dict[str, Any]) -> str:
    x = builder.conv("x", "stem", padding=1)
    for stage in range(len(_stages(weights))):
        x = _residual(builder, x, f"blocks.{2 * stage}", 2, f"blocks.{2 * stage}.s.weight" in weights)
        x = _residual(builder, x, f"blocks.{2 * stage + 1}", 1, f"blocks.{2 * stage + 1}.s.weight" in weights)
    x = builder.node("Flatten", builder.silu(builder.group_norm(x, "norm", _GROUPS)))
    code = builder.node("Gemm", x, builder.weight("fc.weight"), builder.weight("fc.bias"), transB=1)
    code = builder.node("Mul", code, builder.weight("w_std"))
    return builder.node("Add", code, builder.weight("w_avg"))


def _residual(builder: NetworkBuilder, x: str, name: str, stride: int, projects: bool) -> str:
    y = builder.conv(builder.silu(builder.group_norm(x, f"{name}.n1", _GROUPS)), f"{name}.c1", stride, 1)
    y = builder.conv(builder.silu(builder.group_norm(y, f"{name}.n2", _GROUPS)), f"{name}.c2", 1, 1)
    skip = builder.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]) if stride == 2 else x
    return builder.node("Add", y, builder.conv(skip, f"{name}.s") if projects else skip)
