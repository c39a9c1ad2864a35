"""What a synthesis network is to the operator: its arrays in their order, and the sizes that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

MAX_COLOURS = 4  # of the kernels for whole networks
A = TypeVar("A")  # NumPy arrays or PyTorch tensors
B = TypeVar("B")
_PARAMETERS = ("affine_weight", "affine_bias", "weight", "bias", "noise_strength")


@dataclass(frozen=True)
class LayerWeights(Generic[A]):
    """A modulated 3x3 convolution, or the 1x1 one to colours, which has no noise.

    Attributes:
        name: such as ``"b8.conv1"``; ends in ``torgb`` for the 1x1 one.
        affine_weight: ``[cin, w_dim]``; W gives styles by it, times ``1 / sqrt(w_dim)``.
        affine_bias: ``[cin]``.
        weight: ``[cout, cin, 3, 3]``, or ``[colours, cin, 1, 1]``, which is used times ``1 / sqrt(cin)``.
        bias: ``[cout]``.
        noise_strength: a scalar.
        noise: the constant noise image ``[r, r]``.
    """

    name: str
    affine_weight: A
    affine_bias: A
    weight: A
    bias: A
    noise_strength: A | None = None
    noise: A | None = None

    def parameters(self) -> dict[str, A]:
        """What is trained, by name."""
        return {name: value for name in _PARAMETERS if (value := getattr(self, name)) is not None}


@dataclass(frozen=True)
class SynthesisWeights(Generic[A]):
    """A network that doubles the side from block to block: constant, conv1, torgb; conv0, conv1, torgb; and so on.

    Attributes:
        constant: ``[channels, 4, 4]``.
        layers: block by block.
        clamp: largest magnitude of every layer's result, None for no limit.
    """

    constant: A
    layers: tuple[LayerWeights[A], ...]
    clamp: float | None = None

    @property
    def resolution(self) -> int:
        """Side of the image in pixels."""
        return 4 << ((len(self.layers) + 1) // 3 - 1)

    @property
    def num_ws(self) -> int:
        """Styles of an image: one a convolution, and one for the last torgb."""
        return 2 * (len(self.layers) + 1) // 3

    @property
    def w_dim(self) -> int:
        """Numbers of a style."""
        return int(_shape(self.layers[0].affine_weight)[1])

    @property
    def colours(self) -> int:
        """Channels of the image."""
        return int(_shape(self.layers[1].weight)[0])

    def parameters(self) -> list[A]:
        """What is trained: the constant, then layer by layer."""
        return [self.constant, *(value for layer in self.layers for value in layer.parameters().values())]

    def convert(self, function: Callable[[A], B]) -> SynthesisWeights[B]:
        """The same network with a function applied to each array, such as one that makes NumPy's of PyTorch's."""
        layers = []
        for layer in self.layers:
            named = {name: function(value) for name, value in layer.parameters().items()}
            noise = None if layer.noise is None else function(layer.noise)
            layers.append(LayerWeights(layer.name, **named, noise=noise))
        return SynthesisWeights(function(self.constant), tuple(layers), self.clamp)


def _shape(array: Any) -> tuple[int, ...]:
    return tuple(array.shape)
