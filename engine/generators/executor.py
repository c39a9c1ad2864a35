"""Inference: a synthesis network with its weights packed once, run without PyTorch's help and without allocation."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from everface import _native
from everface.engine.errors import UsageError
from everface.engine.generators.native import (
    NativeParameters,
    bind,
    check_supported,
    full_ws,
    network_parameters,
    noise_images,
)
from everface.engine.generators.stylegan2 import SynthesisNetwork

__all__ = ["SynthesisExecutor"]

_PRECISIONS = {"fp32": _native.ExecutorF32, "bf16": _native.ExecutorBF16}


class SynthesisExecutor:
    """Renders images from styles with a snapshot of a network's weights.

    The batch size may change from call to call; memory grows to the largest and is then reused. Calls from several
    threads run one after the other.

    Args:
        network: on the CPU, with at most 4 image channels. Later changes of its weights do not show.
        precision: ``"fp32"`` or ``"bf16"`` (activations and products in bfloat16, sums and styles in float32).
    """

    def __init__(self, network: SynthesisNetwork, *, precision: str = "fp32") -> None:
        if precision not in _PRECISIONS:
            expected = " or ".join(_PRECISIONS)
            raise UsageError("precision", expected=expected, found=repr(precision), remedy="choose one of them")
        check_supported(network)
        self.config, self.precision = network.config, precision
        flat = tuple(tensor.detach().float().contiguous() for tensor in network_parameters(network))
        parameters = NativeParameters.from_flat(flat, len(self.config.block_resolutions))
        bound = bind(self.config, parameters, noise_images(network, None, torch.float32), 1)
        self._native = _PRECISIONS[precision](bound)

    def __call__(self, ws: Tensor) -> Tensor:
        """Maps [n, num_ws, w_dim] (or [n, w_dim]) to images [n, colours, r, r] in float32, about [-1, 1]."""
        ws = full_ws(self.config, ws.detach().float()).contiguous()
        image = ws.new_empty(ws.shape[0], self.config.img_channels, self.config.resolution, self.config.resolution)
        self._native.run(ws.shape[0], ws.data_ptr(), image.data_ptr())
        return image

    def run_numpy(self, ws: np.ndarray, out: np.ndarray) -> np.ndarray:
        """The same on float32 arrays in C order, into ``out`` [n, colours, r, r]: allocates nothing per image."""
        size = self.config.resolution
        shapes = (
            (len(ws), self.config.num_ws, self.config.w_dim),
            (len(ws), self.config.img_channels, size, size),
        )
        for name, array, shape in zip(("ws", "out"), (ws, out), shapes, strict=True):
            if array.shape != shape or array.dtype != np.float32 or not array.flags.c_contiguous:
                found = f"{array.dtype} {array.shape}"
                raise UsageError(name, expected=f"dense float32 {shape}", found=found, remedy="convert the array")
        self._native.run(ws.shape[0], ws.ctypes.data, out.ctypes.data)
        return out

    @property
    def weight_bytes(self) -> int:
        """Bytes of the packed weights."""
        return self._native.weight_bytes

    @property
    def working_bytes(self) -> int:
        """Bytes of activations and scratch so far (the scratch is shared by all operators of the process)."""
        return self._native.arena_bytes + _native.scratch_bytes()
