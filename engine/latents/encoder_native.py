"""The encoder (``.encoder``) in native code: the same file, without PyTorch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from everface import _native
from everface.engine.errors import CheckpointError
from everface.engine.generators.weights import finite_float32, read_arrays
from everface.engine.onnx_network import dequantised
from everface.engine.pictures import to_floats


class NativeEncoder:
    """Aligned photos to W codes in one pass.

    Args:
        data: the whole file, as written by ``everface pretrain``.
        subject: what to call it in errors.

    Raises:
        CheckpointError: not such a file.
    """

    def __init__(self, data: bytes, subject: str) -> None:
        weights = finite_float32(dequantised(read_arrays(data, subject)), subject)
        try:
            self._native = _native.Encoder(weights)
        except ValueError as error:
            expected = "an encoder of `everface pretrain`"
            raise CheckpointError(subject, expected=expected, found=str(error)) from error

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """W codes [n, w_dim] of photos [n, R, R, 3]; other sizes than the encoder's are resampled first."""
        return self._native(np.ascontiguousarray(to_floats(images)))
