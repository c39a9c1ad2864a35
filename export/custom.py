"""The fast graphs: the portable ones with everface's own operators for ONNX Runtime in place of the convolutions.

The operators are a library without Python or PyTorch, ``_ort_ops.so`` beside the package, which any app can load::

    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(str(library_path()))
    session = onnxruntime.InferenceSession("me-bf16.onnx", options, providers=["CPUExecutionProvider"])

The graphs compute what the portable graphs compute, with float32 inputs and outputs. Between the operators images are
channels last, and of the precision's type: ``"fp32"`` or ``"bf16"``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from everface.engine.errors import MissingBackendError, UsageError
from everface.engine.generators.stylegan2 import Generator, SynthesisLayer, SynthesisNetwork, ToRGB
from everface.export.graph import GraphBuilder
from everface.export.runtime.operators import CUSTOM_DOMAIN, LIBRARY_FILE, OPERATORS_VERSION, packaged_library
from everface.export.stylegan2 import Affine, StyleSource, gathered_styles, personal_styles

__all__ = ["CUSTOM_DOMAIN", "CUSTOM_PRECISIONS", "build_custom_graph", "emit_custom_synthesis", "library_path"]

CUSTOM_PRECISIONS = ("fp32", "bf16")
_MAX_COLOURS = 4
_NO_CLAMP = 3e38


def library_path() -> Path:
    """The operator library of this installation, for ``SessionOptions.register_custom_ops_library``.

    It needs ONNX Runtime 1.17 or later, any build with the CPU provider, and works on the session's own threads.

    Raises:
        MissingBackendError: this installation was built without it.
    """
    path = packaged_library()
    if path is None:
        remedy = "install everface from a wheel, or build it with -DEVERFACE_ORT=ON"
        raise MissingBackendError(
            "operator library", expected=f"{LIBRARY_FILE} beside the package", found="no such file", remedy=remedy
        )
    return path


def build_custom_graph(
    graph: str, generator: Generator, anchors: NDArray[np.float32], precision: str, *, psi: float = 1.0,
    opset: int = 17, metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:  # fmt: skip
    """The fast variant of a graph of :func:`everface.export.onnx.build_graph`, with the same inputs and outputs.

    Args:
        graph: ``"personal"`` or ``"synthesis"`` (``"mapping"`` has no convolution).
        generator: float32, on the CPU.
        anchors: W codes [a, w_dim]; matters to ``personal`` alone.
        precision: of images between the operators, ``"fp32"`` or ``"bf16"``; sums and styles are float32 in both.
        psi: truncation of the anchors.
        opset: of the standard operators.
        metadata: text for the file.

    Raises:
        UsageError: an unknown graph or precision, or a generator that the operators do not cover.
        ExportError: a weight is not finite, or the graph is not valid ONNX.
    """
    if graph not in ("personal", "synthesis"):
        raise UsageError("graph", expected="personal or synthesis", found=repr(graph))
    config = generator.config
    g = GraphBuilder(
        graph, "Needs everface's operator library for ONNX Runtime.", domains={CUSTOM_DOMAIN: OPERATORS_VERSION}
    )
    if graph == "personal":
        mean = generator.mapping.w_avg.detach().double().numpy()
        truncated = mean + psi * (anchors.astype(np.float64) - mean)
        style = personal_styles(g, g.input("weights", ["n", len(anchors)]), truncated)
    else:
        style = gathered_styles(g, g.input("ws", ["n", config.num_ws, config.w_dim]))
    image = emit_custom_synthesis(g, generator.synthesis, style, precision)
    g.output(image, "image", ["n", config.img_channels, config.resolution, config.resolution])
    return g.model(opset, dict(metadata or {}))


def emit_custom_synthesis(g: GraphBuilder, network: SynthesisNetwork, style: StyleSource, precision: str) -> str:
    """What :func:`everface.export.stylegan2.emit_synthesis` writes, with everface's operators.

    Args:
        g: made with the domain :data:`CUSTOM_DOMAIN`.
        network: with at most 4 image channels.
        style: where styles come from.
        precision: ``"fp32"`` or ``"bf16"``.

    Raises:
        UsageError: an unknown precision, or too many image channels.
    """
    if precision not in CUSTOM_PRECISIONS:
        raise UsageError("precision", expected=" or ".join(CUSTOM_PRECISIONS), found=repr(precision))
    if network.config.img_channels > _MAX_COLOURS:
        found = str(network.config.img_channels)
        raise UsageError(
            "img_channels", expected=f"at most {_MAX_COLOURS}", found=found, remedy="use the portable graph"
        )
    image, x, index = "", "", 0
    for block in network.blocks():
        name = f"b{block.resolution}"
        if block.resolution == 4:
            x = g.constant(f"{name}.const", block.const.detach().numpy().transpose(1, 2, 0)[None])
            if precision == "bf16":
                x = g.node("Cast", [x], f"{name}.const_bf16", to=onnx.TensorProto.BFLOAT16)
        else:
            x = _layer(g, block.conv0, x, style, (f"{name}.conv0", index, block.resolution // 2))
            index += 1
        x = _layer(g, block.conv1, x, style, (f"{name}.conv1", index, block.resolution))
        index += 1
        image = _to_rgb(g, block.torgb, x, style, (f"{name}.torgb", index, image))
    return image


def _layer(g: GraphBuilder, layer: SynthesisLayer, x: str, style: StyleSource, place: tuple[str, int, int]) -> str:
    name, index, side = place
    inputs = [
        x,
        style(f"{name}.style", index, Affine.of(layer.affine)),
        g.constant(f"{name}.weight", layer.weight.detach().numpy()),
        g.constant(f"{name}.bias", layer.bias.detach().numpy()),
    ]
    noise = layer.noise_const.detach().double().numpy() * float(layer.noise_strength.detach())
    if noise.any():
        inputs.append(g.constant(f"{name}.noise", noise[None]))
    clamp = _NO_CLAMP if layer.clamp is None else layer.clamp
    return g.node(
        "ModulatedConv", inputs, f"{name}.act", domain=CUSTOM_DOMAIN, height=side, width=side, up=2 if layer.up else 1,
        demodulate=1, slope=0.2, gain=2**0.5, clamp=clamp,
    )  # fmt: skip


def _to_rgb(g: GraphBuilder, layer: ToRGB, x: str, style: StyleSource, place: tuple[str, int, str]) -> str:
    name, index, skip = place
    inputs = [
        x,
        style(f"{name}.style", index, Affine.of(layer.affine, layer.weight_gain)),
        g.constant(f"{name}.weight", layer.weight.detach().numpy()),
        g.constant(f"{name}.bias", layer.bias.detach().numpy()),
    ]
    clamp = _NO_CLAMP if layer.clamp is None else layer.clamp
    inputs += [skip] if skip else []
    return g.node("ToRGB", inputs, f"{name}.image", domain=CUSTOM_DOMAIN, clamp=clamp)
