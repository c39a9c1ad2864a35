"""One convolution of a synthesis network by everface, oneDNN and XNNPACK, weights packed beforehand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from everface import _native
from everface.bench.baselines.xnnpack import XNNPACK_PACKAGES, XnnConvolution
from everface.bench.common import installed
from everface.engine.ops.tensors import share

_SLOPE, _GAIN, _STRENGTH = 0.2, 2**0.5, 0.1
# Along one axis: multiplications of a tile, and the results (of "up": the inputs) that it is made for.
_TILES = {"point": (1, 1), "f2": (4, 2), "f4": (6, 4), "up": (7, 3)}


@dataclass(frozen=True)
class Shape:
    """A layer: ``kind`` is ``"3x3"``, ``"1x1"`` or ``"2x up"``, ``side`` that of its input in pixels."""

    kind: str
    side: int
    cin: int
    cout: int

    def __str__(self) -> str:
        return f"{self.kind} {self.cin}->{self.cout} at {self.side}"

    @property
    def taps(self) -> int:
        """Along each axis."""
        return 1 if self.kind == "1x1" else 3

    @property
    def up(self) -> bool:
        """Whether the result has twice the side."""
        return self.kind == "2x up"

    @property
    def direct(self) -> float:
        """Multiplications by the definition: every tap at every pixel of the input."""
        return float(self.side**2 * self.cin * self.cout * self.taps**2)


@dataclass
class Convolution:
    """One implementation of one layer.

    Attributes:
        name: lower-case; ours with the algorithm and the instructions.
        run: computes once; what the benchmark times.
        results: computes once more: ours the layer's whole result [1, cout, H, W], peers the products alone, in 2x
            layers those of four phases.
        products: multiplications that ``run`` makes.
    """

    name: str
    run: Callable[[], object]
    results: Callable[[], list[Tensor]]
    products: float


@dataclass
class _Layer:
    shape: Shape
    dtype: torch.dtype
    x: Tensor = field(init=False)
    weight: Tensor = field(init=False)
    styles: Tensor = field(init=False)
    bias: Tensor = field(init=False)
    noise: Tensor = field(init=False)

    def __post_init__(self) -> None:
        rng, shape = torch.Generator().manual_seed(0), self.shape
        side = shape.side * (2 if shape.up else 1)
        x = torch.randn(1, shape.cin, shape.side, shape.side, generator=rng)
        self.x = x.to(self.dtype).contiguous(memory_format=torch.channels_last)
        self.weight = torch.randn(shape.cout, shape.cin, shape.taps, shape.taps, generator=rng)
        self.styles = 1 + 0.1 * torch.randn(1, shape.cin, generator=rng)
        self.bias = torch.randn(shape.cout, generator=rng)
        self.noise = torch.randn(side, side, generator=rng)

    def scaled(self) -> Tensor:
        """Input times style, which the peers get ready-made."""
        return (self.x * self.styles[:, :, None, None].to(self.dtype)).contiguous(memory_format=torch.channels_last)

    def phases(self) -> list[tuple[Tensor, tuple[int, int]]]:
        """Plain convolutions and their padding; of a transposed one of stride 2, those of the four phases.

        Even results along an axis have two taps (the third meets the sample before), odd ones have one.
        """
        if not self.shape.up:
            return [(self.weight, (self.shape.taps // 2,) * 2)]
        even, odd = torch.tensor([2, 0]), torch.tensor([1])
        return [
            (self.weight[:, :, rows][:, :, :, columns].contiguous(), (len(rows) - 1, len(columns) - 1))
            for rows in (even, odd)
            for columns in (even, odd)
        ]


def _own(layer: _Layer) -> Convolution:
    shape = layer.shape
    side = shape.side * (2 if shape.up else 1)
    y = torch.empty(1, shape.cout, side, side, dtype=layer.dtype, memory_format=torch.channels_last)
    demod = torch.empty(1, shape.cout)
    inputs = _native.ModulatedConv(
        x=_pixels(layer.x), weight=share(layer.weight), styles=share(layer.styles), bias=share(layer.bias),
        noise=share(layer.noise[None]), strength=_STRENGTH, up=shape.up, slope=_SLOPE, gain=_GAIN,
    )  # fmt: skip
    packed = _native.PackedConv(inputs, large_tiles=True)  # as in a packed network
    to_image, to_demod = _pixels(y), share(demod)

    def run() -> Tensor:
        packed.run(y=to_image, demod=to_demod)
        return y

    each, covers = _TILES[packed.algorithm]
    tiles = -(-(shape.side + 1) // covers) if shape.up else -(-shape.side // covers)
    isa = _native.stylegan_isa()[int(layer.dtype == torch.bfloat16)]
    products = float((each * tiles) ** 2 * shape.cin * shape.cout)
    return Convolution(f"own-{packed.algorithm}:{isa}", run, lambda: [run()], products)


def _pixels(image: Tensor) -> object:
    return share(image.permute(0, 2, 3, 1))


def _onednn(layer: _Layer) -> Convolution | None:
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    if layer.dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return None
    x, ops, one = layer.scaled(), torch.ops.mkldnn, [1, 1]
    packed = [
        (ops._reorder_convolution_weight(weight.to(layer.dtype), list(padding), one, one, 1, list(x.shape)), padding)
        for weight, padding in layer.phases()
    ]

    def run() -> list[Tensor]:
        with torch.no_grad():
            return [
                ops._convolution_pointwise(x, weight, None, list(padding), one, one, 1, "none", [], "")
                for weight, padding in packed
            ]

    return Convolution("onednn", run, run, layer.shape.direct)


def _xnnpack(layer: _Layer) -> Convolution | None:
    if layer.dtype != torch.float32 or installed(*XNNPACK_PACKAGES) is not None:
        return None
    x = layer.scaled()
    parts = [XnnConvolution(weight, padding, x) for weight, padding in layer.phases()]

    def run() -> list[Tensor]:
        for part in parts:
            part.run()
        return [part.result() for part in parts]

    return Convolution("xnnpack", lambda: [part.run() for part in parts], run, layer.shape.direct)


def convolutions(shape: Shape, dtype: torch.dtype) -> list[Convolution]:
    """Everface's implementation, then the peers that are here and know the type.

    The peers' inputs are channels-last and already scaled by the style, XNNPACK's with margins as well. Their time ends
    with the products: no demodulation, noise, bias or activation, and of a 2x layer neither the interleaving of its
    phases nor the filter. Everface's time includes all of these.

    Args:
        shape: of the layer; the batch is 1.
        dtype: float32 or bfloat16.
    """
    layer = _Layer(shape, dtype)
    return [_own(layer), *(one for one in (_onednn(layer), _xnnpack(layer)) if one is not None)]
