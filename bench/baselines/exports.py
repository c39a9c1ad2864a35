"""Exports that a user would otherwise make: torch.onnx of the reference formulation, OpenVINO of a portable graph."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from everface.engine.generators.stylegan2 import SynthesisLayer, SynthesisNetwork, ToRGB
from everface.engine.ops.resample import fir_after_transpose, upsample_2x

Array = NDArray[np.float32]


class ReferenceSynthesis(nn.Module):
    """Synthesis as the paper writes it (Karras et al. 2020, equations 1 to 3): weights a sample, groups = batch.

    Args:
        network: whose weights are used.
    """

    def __init__(self, network: SynthesisNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, ws: Tensor) -> Tensor:
        """W+ codes [n, num_ws, w_dim] to images."""
        x = image = torch.empty(0)
        index = 0
        for block in self.network.blocks():
            if block.resolution == 4:
                x = block.const[None].expand(ws.shape[0], -1, -1, -1)
            else:
                x = _layer(block.conv0, x, ws[:, index])
                index += 1
            x = _layer(block.conv1, x, ws[:, index])
            index += 1
            rgb = _to_rgb(block.torgb, x, ws[:, index])
            image = rgb if block.resolution == 4 else upsample_2x(image) + rgb
        return image


def _layer(layer: SynthesisLayer, x: Tensor, w: Tensor) -> Tensor:
    style = layer.affine(w)
    weight = layer.weight[None] * style[:, None, :, None, None]
    weight = weight * torch.rsqrt(weight.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8)
    x = _grouped(x, weight, layer.up)
    x = x + (layer.noise_const * layer.noise_strength + layer.bias[:, None, None])
    x = F.leaky_relu(x, 0.2) * math.sqrt(2.0)
    return x if layer.clamp is None else x.clamp(-layer.clamp, layer.clamp)


def _to_rgb(layer: ToRGB, x: Tensor, w: Tensor) -> Tensor:
    style = layer.affine(w) * layer.weight_gain
    x = _grouped(x, layer.weight[None] * style[:, None, :, None, None], False) + layer.bias[:, None, None]
    return x if layer.clamp is None else x.clamp(-layer.clamp, layer.clamp)


def _grouped(x: Tensor, weight: Tensor, up: bool) -> Tensor:
    n, out, fan_in, k, _ = weight.shape
    x = x.reshape(1, n * fan_in, *x.shape[2:])
    if up:
        kernel = weight.transpose(1, 2).reshape(n * fan_in, out, k, k)
        x = F.conv_transpose2d(x, kernel, stride=2, groups=n)
        return fir_after_transpose(x.reshape(n, out, *x.shape[2:]))
    x = F.conv2d(x, weight.reshape(n * out, fan_in, k, k), padding=k // 2, groups=n)
    return x.reshape(n, out, *x.shape[2:])


def traced_reference(network: SynthesisNetwork, ws: Tensor) -> bytes:
    """What ``torch.onnx.export`` makes of it: a graph for the batch it was traced with."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names: dict[str, Any] = {"input_names": ["ws"], "output_names": ["image"]}
        module = ReferenceSynthesis(network).eval()
        torch.onnx.export(module, (ws,), buffer, dynamo=False, opset_version=17, **names)  # type: ignore[arg-type]
    return buffer.getvalue()


def openvino_runner(model: bytes, threads: int) -> Callable[[Array], Any]:
    """Loads an ONNX graph in OpenVINO in float32; the function renders one input ``ws``."""
    import openvino as ov

    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    core = ov.Core()
    request = core.compile_model(core.read_model(io.BytesIO(model)), "CPU", hints).create_infer_request()
    return lambda ws: next(iter(request.infer([ws]).values()))
