"""Peers that render the same StyleGAN2 weights: PyTorch, ONNX Runtime, OpenVINO."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from everface.bench.baselines.grouped import grouped_synthesis
from everface.bench.common import installed
from everface.engine.generators.stylegan2 import SynthesisLayer, SynthesisNetwork

PEER_PACKAGES = {"onnxruntime-fp32": ("onnxruntime", "onnx"), "openvino-f32": ("openvino", "onnx")}


def make_network(resolution: int, channel_base: int, channel_max: int = 512) -> SynthesisNetwork:
    """A network with random weights and noise that is switched on."""
    from everface.engine.generators.stylegan2 import StyleGAN2Config

    torch.manual_seed(0)
    network = SynthesisNetwork(
        StyleGAN2Config(resolution=resolution, channel_base=channel_base, channel_max=channel_max)
    )
    for module in network.modules():
        if isinstance(module, SynthesisLayer):
            module.noise_strength.data.fill_(0.1)
    return network


def direct_macs(network: SynthesisNetwork) -> float:
    """Multiplications of one image by the definition: nine taps per input pixel of each convolution."""
    total = 0.0
    for block in network.blocks():
        layers = [block.conv1] if block.resolution == 4 else [block.conv0, block.conv1]
        for layer in layers:
            side = block.resolution // (2 if layer.up else 1)
            total += side * side * layer.weight.numel()
    return total


class _OneInput(nn.Module):
    def __init__(self, network: SynthesisNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, ws: Tensor) -> Tensor:
        image: Tensor = self.network(ws)
        return image


def _onnx(network: SynthesisNetwork, ws: Tensor) -> bytes:
    buffer = io.BytesIO()
    names = {"input_names": ["ws"], "output_names": ["image"]}
    with warnings.catch_warnings():
        # The older exporter writes the plainer graph: a convolution is one node.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(_OneInput(network).eval(), (ws,), buffer, dynamo=False, **names)  # type: ignore[arg-type]
    return buffer.getvalue()


def _openvino(model: bytes, ws: np.ndarray[Any, Any], precision: str, threads: int) -> Callable[[], object]:
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


def _onnxruntime(model: bytes, ws: np.ndarray[Any, Any], threads: int) -> Callable[[], object]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"ws": ws})[0]


def peers(network: SynthesisNetwork, ws: Tensor, threads: int, compiled: bool) -> dict[str, Callable[[], object]]:
    """Functions that render ``ws`` once, by peer; those whose packages are missing are left out."""

    def eager(dtype: torch.dtype, run: Callable[..., Tensor] = network) -> Callable[[], object]:
        def call() -> Tensor:
            with torch.no_grad():
                return run(ws, dtype=dtype)

        return call

    runs = {
        "pytorch-eager": eager(torch.float32),
        "pytorch-grouped": eager(torch.float32, partial(grouped_synthesis, network)),
    }
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():  # elsewhere it is a plain loop, which takes minutes
        runs["pytorch-eager-bf16"] = eager(torch.bfloat16)
    if compiled:
        runs["pytorch-compile"] = eager(torch.float32, torch.compile(network))
    if installed("onnx") is None:
        model, array = _onnx(network, ws), ws.numpy().copy()
        if installed(*PEER_PACKAGES["onnxruntime-fp32"]) is None:
            runs["onnxruntime-fp32"] = _onnxruntime(model, array, threads)
        if installed(*PEER_PACKAGES["openvino-f32"]) is None:
            for precision in ("f32", "bf16"):
                runs[f"openvino-{precision}"] = _openvino(model, array, precision, threads)
    return runs
