"""Peers that render the same StyleGAN2 weights: PyTorch, ONNX Runtime, OpenVINO."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everface.bench.common import installed
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.layers import SynthesisLayer, ToRGB
from everface.engine.generators.stylegan2.synthesis import SynthesisNetwork
from everface.engine.ops.resample import fir_after_transpose, upsample_2x

PEER_PACKAGES = {"onnxruntime-fp32": ("onnxruntime", "onnx"), "openvino-f32": ("openvino", "onnx")}
Run = Callable[[], object]


def make_network(resolution: int, channel_base: int, channel_max: int = 512) -> SynthesisNetwork:
    """A network with random weights and noise that is switched on."""
    torch.manual_seed(0)
    network = SynthesisNetwork(
        StyleGAN2Config(resolution=resolution, channel_base=channel_base, channel_max=channel_max)
    )
    for module in network.modules():
        if isinstance(module, SynthesisLayer):
            module.noise_strength.data.fill_(0.1)
    return network


def grouped_synthesis(network: SynthesisNetwork, ws: Tensor) -> Tensor:
    """The image that ``network(ws)`` gives, as published: weights modulated for each sample, groups = batch.

    Written from the paper (Karras et al. 2020, arXiv 1912.04958, section 2.2, equations 1 to 3). Everface's own network
    scales activations instead, which is the same function.
    """
    x = image = torch.empty(0)
    index = 0
    for block in network.blocks():
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
    weight = layer.weight[None] * layer.affine(w)[:, None, :, None, None]
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


class _OneInput(nn.Module):
    def __init__(self, network: SynthesisNetwork, run: Callable[[SynthesisNetwork, Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.run = network, run

    def forward(self, ws: Tensor) -> Tensor:
        return self.run(self.network, ws)


def traced(
    network: SynthesisNetwork, ws: Tensor, run: Callable[[SynthesisNetwork, Tensor], Tensor] = SynthesisNetwork.__call__
) -> bytes:
    """What ``torch.onnx.export`` makes of a network: a graph for the batch it was traced with."""
    buffer = io.BytesIO()
    names: dict[str, Any] = {"input_names": ["ws"], "output_names": ["image"], "opset_version": 17}
    with warnings.catch_warnings():
        # The older exporter writes the plainer graph: a convolution is one node.
        warnings.simplefilter("ignore")
        torch.onnx.export(_OneInput(network, run).eval(), (ws,), buffer, dynamo=False, **names)  # type: ignore[arg-type]
    return buffer.getvalue()


def openvino_run(model: bytes, ws: np.ndarray, precision: str, threads: int) -> Run:
    """Renders ``ws`` by an ONNX graph in OpenVINO."""
    import openvino as ov

    core = ov.Core()
    hints = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(core.read_model(io.BytesIO(model)), "CPU", hints).create_infer_request()
    request.set_input_tensor(ov.Tensor(ws))
    return lambda: next(iter(request.infer().values()))


def onnxruntime_session(model: bytes, threads: int, operators: Path | None = None) -> Any:
    """ONNX Runtime on the CPU, with a library of further operators where one is named."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Between two runs the threads of one session would else take the cores from whatever runs next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if operators is not None:
        options.register_custom_ops_library(str(operators))
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def peers(network: SynthesisNetwork, ws: Tensor, threads: int, compiled: bool) -> dict[str, Run]:
    """Functions that render ``ws`` once, by peer; those whose packages are missing are left out."""

    def eager(run: Callable[..., Tensor], **more: object) -> Run:
        return torch.no_grad()(partial(run, ws, **more))

    runs = {"pytorch-eager": eager(network), "pytorch-grouped": eager(partial(grouped_synthesis, network))}
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():  # elsewhere it is a plain loop, which takes minutes
        runs["pytorch-eager-bf16"] = eager(network, dtype=torch.bfloat16)
    if compiled:
        runs["pytorch-compile"] = eager(torch.compile(network))
    if installed("onnx") is None:
        model, array = traced(network, ws), ws.numpy().copy()
        if installed(*PEER_PACKAGES["onnxruntime-fp32"]) is None:
            session = onnxruntime_session(model, threads)
            runs["onnxruntime-fp32"] = lambda: session.run(None, {"ws": array})[0]
        if installed(*PEER_PACKAGES["openvino-f32"]) is None:
            for precision in ("f32", "bf16"):
                runs[f"openvino-{precision}"] = openvino_run(model, array, precision, threads)
    return runs
