"""The fast graphs: the portable ones with everface's own operators for ONNX Runtime in place of the convolutions.

The operators are a library without Python or PyTorch, ``_ort_ops.so`` beside the package, which any app can load::

    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(str(library_path()))
    session = onnxruntime.InferenceSession("me-bf16.onnx", options, providers=["CPUExecutionProvider"])

The graphs compute what the portable graphs compute, with float32 inputs and outputs. Between the operators images are
channels last, and of the precision's type: ``"fp32"`` or ``"bf16"``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from everface.engine.errors import UsageError
from everface.engine.ops.synthesis.weights import MAX_COLOURS, LayerWeights
from everface.export.graph import GraphBuilder
from everface.export.runtime.operators import CUSTOM_DOMAIN, find_library
from everface.export.stylegan2 import Affine, Arrays, StyleSource

__all__ = ["CUSTOM_DOMAIN", "CUSTOM_PRECISIONS", "emit_custom_synthesis", "library_path"]

CUSTOM_PRECISIONS = ("fp32", "bf16")
_NO_CLAMP = 3e38


def library_path() -> Path:
    """The operator library of this installation, for ``SessionOptions.register_custom_ops_library``.

    It needs ONNX Runtime 1.17 or later, any build with the CPU provider, and works on the session's own threads.

    Raises:
        MissingBackendError: this installation was built without it.
    """
    return find_library(None)


def emit_custom_synthesis(g: GraphBuilder, weights: Arrays, style: StyleSource, precision: str) -> str:
    """What ``everface.export.stylegan2.emit_synthesis`` writes, with everface's operators.

    Args:
        g: made with the domain ``CUSTOM_DOMAIN``.
        weights: of a network with at most 4 image channels.
        style: where styles come from.
        precision: of images between the operators, ``"fp32"`` or ``"bf16"``; sums and styles are float32 in both.

    Raises:
        UsageError: an unknown precision, or too many image channels.
    """
    if precision not in CUSTOM_PRECISIONS:
        raise UsageError("precision", expected=" or ".join(CUSTOM_PRECISIONS), found=repr(precision))
    if weights.colours > MAX_COLOURS:
        expected, remedy = f"at most {MAX_COLOURS}", "use the portable graph"
        raise UsageError("img_channels", expected=expected, found=str(weights.colours), remedy=remedy)
    image, index, side = "", 0, 4
    x = g.constant("b4.const", weights.constant.transpose(1, 2, 0)[None])
    if precision == "bf16":
        x = g.node("Cast", [x], "b4.const_bf16", to=onnx.TensorProto.BFLOAT16)
    for layer in weights.layers:
        inputs = [x, style(f"{layer.name}.style", index, Affine.of(layer))]
        inputs += [g.constant(f"{layer.name}.{name}", getattr(layer, name)) for name in ("weight", "bias")]
        clamp = _NO_CLAMP if weights.clamp is None else weights.clamp
        if layer.name.endswith("torgb"):
            inputs += [image] if image else []
            image = g.node("ToRGB", inputs, f"{layer.name}.image", domain=CUSTOM_DOMAIN, clamp=clamp)
            continue
        index, up = index + 1, 2 if layer.name.endswith("conv0") else 1
        x = g.node(
            "ModulatedConv", inputs + _noise(g, layer), f"{layer.name}.act", domain=CUSTOM_DOMAIN, height=side,
            width=side, up=up, demodulate=1, slope=0.2, gain=2**0.5, clamp=clamp,
        )  # fmt: skip
        side *= up
    return image


def _noise(g: GraphBuilder, layer: LayerWeights[NDArray[np.float32]]) -> list[str]:
    if layer.noise is None or layer.noise_strength is None:
        return []
    noise = layer.noise.astype(np.float64) * float(layer.noise_strength)
    return [g.constant(f"{layer.name}.noise", noise[None])] if noise.any() else []
