"""StyleGAN2 as ONNX operators, written node by node from the weights.

What an exporter would trace is the same function with more operators. Written by hand, every constant factor is folded
into a weight (equalised learning rates, the gain of leaky ReLU), the FIR is one depthwise convolution, and convolutions
keep static weights: activations are scaled by the style before and by the demodulation factor after.

In low precision the styles, the demodulation and the image stay float32, and convolutions see styles of unit root mean
square and weights of unit norm, which demodulation undoes: undemodulated activations of StyleGAN2 overflow half
precision (Karras et al., "Training Generative Adversarial Networks with Limited Data", appendix C).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import ExportError
from everface.engine.generators.stylegan2.weights import StyleGAN2Weights
from everface.engine.ops.synthesis.weights import LayerWeights, SynthesisWeights
from everface.export.graph import GraphBuilder

_FLOATS_FOLDED = 1 << 18
# [1, 3, 3, 1] in both directions with gain 4, since upsampling inserts three zeros beside every value.
_FIR = np.outer([1.0, 3.0, 3.0, 1.0], [1.0, 3.0, 3.0, 1.0]) / 16


Layer = LayerWeights[NDArray[np.float32]]
Arrays = SynthesisWeights[NDArray[np.float32]]


def _exact(array: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(array, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Affine:
    """A fully connected layer with all gains folded in: y = x @ matrix + bias.

    Attributes:
        matrix: [fan_in, fan_out] float64.
        bias: [fan_out] float64.
    """

    matrix: NDArray[np.float64]
    bias: NDArray[np.float64]

    @classmethod
    def of(cls, layer: Layer) -> Affine:
        """What gives a layer's styles; those to colours have a gain of their own, 1 / sqrt(fan_in)."""
        fan_in, w_dim = layer.affine_weight.shape
        gain = 1 / np.sqrt(fan_in) if layer.name.endswith("torgb") else 1.0
        return cls(_exact(layer.affine_weight).T * (gain / np.sqrt(w_dim)), _exact(layer.affine_bias) * gain)

    def emit(self, g: GraphBuilder, x: str, name: str) -> str:
        """[n, fan_in] to [n, fan_out]."""
        weight, bias = g.weight(f"{name}.weight", self.matrix), g.constant(f"{name}.bias", self.bias)
        return g.node("Gemm", [x, weight, bias], name)


StyleSource = Callable[[str, int, Affine], str]
"""(name, index among the styles, affine layer) to the name of a value [n, fan_out]."""


def gathered_styles(g: GraphBuilder, ws: str) -> StyleSource:
    """Styles from W+ codes ``ws`` [n, num_ws, w_dim]."""
    taken: dict[int, str] = {}

    def style(name: str, index: int, affine: Affine) -> str:
        if index not in taken:
            taken[index] = g.node("Gather", [ws, g.constant(f"index{index}", index)], f"w{index}", axis=1)
        return affine.emit(g, taken[index], name)

    return style


def personal_styles(g: GraphBuilder, weights: str, anchors: NDArray[np.float64]) -> StyleSource:
    """Styles from hull weights [n, a] over anchors [a, w_dim]: the anchors are multiplied into the affine layers."""

    def style(name: str, _: int, affine: Affine) -> str:
        return Affine(anchors @ affine.matrix, affine.bias).emit(g, weights, name)

    return style


def emit_mapping(g: GraphBuilder, weights: StyleGAN2Weights, z: str, psi: str) -> str:
    """Z codes [n, z_dim] and psi [1] to W codes [n, w_dim]."""
    x = _normalise(g, z, weights.config.z_dim, "z")
    for i, (matrix, bias) in enumerate(weights.mapping_layers()):
        # Leaky ReLU's gain sqrt(2) passes through it.
        x = Affine(_exact(matrix).T * np.sqrt(2.0), _exact(bias) * np.sqrt(2.0)).emit(g, x, f"fc{i}")
        x = g.node("LeakyRelu", [x], f"fc{i}.act", alpha=0.2)
    mean = g.constant("w_avg", _exact(weights.w_mean))
    offset = g.node("Mul", [g.node("Sub", [x, mean], "offset"), psi], "truncated")
    return g.node("Add", [offset, mean], "w_truncated")


def _normalise(g: GraphBuilder, x: str, dim: int, name: str) -> str:
    # The mean as a product: ReduceMean changed its signature between opsets.
    averaging = g.constant(f"{name}.averaging", np.full((dim, 1), 1 / dim))
    square = g.node("MatMul", [g.node("Mul", [x, x], f"{name}.square"), averaging], f"{name}.mean_square")
    norm = g.node("Sqrt", [g.node("Add", [square, g.constant("epsilon", 1e-8)], f"{name}.shifted")], f"{name}.norm")
    return g.node("Div", [x, norm], f"{name}.normalised")


def emit_synthesis(g: GraphBuilder, weights: Arrays, style: StyleSource, *, noise: bool = False) -> str:
    """Styles to images [n, colours, resolution, resolution], about [-1, 1].

    Args:
        g: takes the nodes.
        weights: of the network.
        style: where styles come from.
        noise: the noise images are optional inputs, named ``noise.b8.conv0`` and so on.
    """
    image, index = "", 0
    x = g.weight("b4.const", _exact(weights.constant)[None], compute=True)
    for layer in weights.layers:
        s = style(f"{layer.name}.style", index, Affine.of(layer))
        if not layer.name.endswith("torgb"):
            x = _layer(g, layer, x, s, (weights.clamp, noise))
            index += 1
            continue
        # It shares its style with the next block's first convolution.
        rgb, block = _to_rgb(g, layer, x, s, weights.clamp), layer.name.removesuffix(".torgb")
        image = g.node("Add", [_upsample(g, image, weights.colours, block), rgb], f"{block}.image") if image else rgb
    return image


def _spatial(g: GraphBuilder, x: str, name: str) -> str:
    return g.node("Unsqueeze", [g.to_compute(x, name), g.constant("spatial", [2, 3])], name)


def _layer(g: GraphBuilder, layer: Layer, x: str, s: str, settings: tuple[float | None, bool]) -> str:
    name, (clamp, noise) = layer.name, settings
    weight = _exact(layer.weight)
    if g.arithmetic.normalised:
        norm = np.sqrt(np.square(weight).sum(axis=(1, 2, 3), keepdims=True))
        weight = weight / np.where(norm > 0, norm, 1)
        s = _normalise(g, s, weight.shape[1], f"{name}.unit")
    x = g.node("Mul", [x, _spatial(g, s, f"{name}.scale")], f"{name}.modulated")
    if name.endswith("conv0"):
        x = _up_convolution(g, x, weight, name)
    else:
        x = g.node("Conv", [x, g.weight(f"{name}.weight", weight, compute=True)], f"{name}.conv", pads=[1] * 4)
    x = g.node("Mul", [x, _spatial(g, _demodulation(g, weight, s, name), f"{name}.gain")], f"{name}.demodulated")
    x = _add_noise_and_bias(g, layer, x, noise)
    x = g.node("LeakyRelu", [x], f"{name}.act", alpha=0.2)
    return x if clamp is None else _clip(g, x, clamp, name)


def _demodulation(g: GraphBuilder, weight: NDArray[np.float64], s: str, name: str) -> str:
    # Demodulation times leaky ReLU's gain: sqrt(2) / sqrt(q) = 1 / sqrt(q / 2).
    square = g.weight(f"{name}.square", np.square(weight).sum(axis=(2, 3)).T / 2)
    q = g.node("MatMul", [g.node("Mul", [s, s], f"{name}.style_square"), square], f"{name}.energy")
    q = g.node("Add", [q, g.constant("half_epsilon", 0.5e-8)], f"{name}.shifted")
    return g.node("Reciprocal", [g.node("Sqrt", [q], f"{name}.norm")], f"{name}.demodulation")


def _add_noise_and_bias(g: GraphBuilder, layer: Layer, x: str, given: bool) -> str:
    if layer.noise is None or layer.noise_strength is None:
        raise ExportError(layer.name, expected="a layer with noise", found="one without")
    gain, name = np.sqrt(2.0), layer.name
    bias, strength = _exact(layer.bias)[:, None, None] * gain, float(layer.noise_strength) * gain
    noise = _exact(layer.noise) * strength
    if given:
        side = noise.shape[0]
        image = g.input(f"noise.{name}", [1, 1, side, side], _exact(layer.noise)[None, None])
        scaled = g.node("Mul", [image, g.constant(f"{name}.strength", strength)], f"{name}.scaled_noise")
        offset = g.node("Add", [scaled, g.constant(f"{name}.bias", bias)], f"{name}.offset")
        return g.node("Add", [x, g.to_compute(offset, f"{name}.offset")], f"{name}.biased")
    if not noise.any():
        return g.node("Add", [x, g.operand(f"{name}.bias", bias)], f"{name}.biased")
    bias_name, constant = g.operand(f"{name}.bias", bias), g.operand(f"{name}.noise", noise)
    if noise.size * len(layer.bias) <= _FLOATS_FOLDED:
        # A runtime adds constants once, when it loads the graph; at high resolutions that would take too much memory.
        return g.node("Add", [x, g.node("Add", [constant, bias_name], f"{name}.offset")], f"{name}.biased")
    return g.node("Add", [g.node("Add", [x, constant], f"{name}.noisy"), bias_name], f"{name}.biased")


def _to_rgb(g: GraphBuilder, layer: Layer, x: str, s: str, clamp: float | None) -> str:
    name = layer.name
    x = g.node("Mul", [x, _spatial(g, s, f"{name}.scale")], f"{name}.modulated")
    x = g.node("Conv", [x, g.weight(f"{name}.weight", _exact(layer.weight), compute=True)], f"{name}.conv")
    bias = g.constant(f"{name}.bias", _exact(layer.bias)[:, None, None])
    x = g.node("Add", [g.to_float(x, f"{name}.wide"), bias], f"{name}.rgb")
    return x if clamp is None else _clip(g, x, clamp, name, compute=False)


def _clip(g: GraphBuilder, x: str, limit: float, name: str, *, compute: bool = True) -> str:
    store = g.operand if compute else g.constant
    return g.node("Clip", [x, store(f"{name}.low", -limit), store(f"{name}.high", limit)], f"{name}.clamped")


def _up_convolution(g: GraphBuilder, x: str, weight: NDArray[np.float64], name: str) -> str:
    # Measured in ONNX Runtime on a CPU: folding the FIR into the kernel, as one 6x6 transposed convolution or as a 3x3
    # convolution and DepthToSpace, costs four times the weights and is 1.6 to 2 times slower.
    channels = weight.shape[0]
    fir = g.operand(f"fir{channels}", np.tile(_FIR, (channels, 1, 1, 1)))
    if g.arithmetic.phased:
        kernel = g.weight(f"{name}.weight", _phases(weight), compute=True)
        x = g.node("Conv", [x, kernel], f"{name}.conv", pads=[1] * 4)
        # One row and column more than a transposed convolution gives, of zeros: they take the place of padding.
        x = g.node("DepthToSpace", [x], f"{name}.interleaved", blocksize=2)
        return g.node("Conv", [x, fir], f"{name}.filtered", group=channels, pads=[1, 1, 0, 0])
    kernel = g.weight(f"{name}.weight", weight.transpose(1, 0, 2, 3), compute=True)
    x = g.node("ConvTranspose", [x, kernel], f"{name}.conv", strides=[2, 2])
    return g.node("Conv", [x, fir], f"{name}.filtered", group=channels, pads=[1] * 4)


def _phases(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kernels [4 * fan_out, fan_in, 2, 2] of the four phases of a transposed 3x3 convolution with stride 2.

    Along an axis, even samples are y[2i] = w[2] x[i - 1] + w[0] x[i], odd ones y[2i + 1] = w[1] x[i].
    """
    taps = np.zeros((2, 2, 3))
    taps[0, 0, 2] = taps[0, 1, 0] = taps[1, 1, 1] = 1
    out: NDArray[np.float64] = np.einsum("pyk,qxl,oikl->pqoiyx", taps, taps, weight)
    return np.asarray(out.reshape(-1, *out.shape[3:]))


def _upsample(g: GraphBuilder, x: str, channels: int, name: str) -> str:
    kernel = g.constant(f"upsample{channels}", np.tile(_FIR, (channels, 1, 1, 1)))
    return g.node("ConvTranspose", [x, kernel], f"{name}.skip", group=channels, strides=[2, 2], pads=[1] * 4)
