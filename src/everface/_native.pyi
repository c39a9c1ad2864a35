"""everface's C++ and CUDA kernels (built from cpp_ext/).

An array is a NumPy array or, from PyTorch, a DLPack capsule; it is not copied. Each argument's type, shape, C order,
place and writability are checked: a ValueError names the argument, what was expected and what was found. NumPy's uint16
stands for bfloat16.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = object  # as above

def cuda_compiled() -> bool: ...
def cuda_status() -> tuple[bool, str]: ...
def cpu_isa() -> str: ...
def set_threads(threads: int) -> None: ...
def get_threads() -> int: ...
def scratch_bytes() -> int: ...

class PreparedHull:
    def __init__(self, vertices: Array, beta: float, threads: int, isa: str = "") -> None: ...
    @property
    def vertex_count(self) -> int: ...
    @property
    def dimension(self) -> int: ...
    def project(
        self, queries: Array, tolerance: float, threads: int, weights: str
    ) -> tuple[Any, NDArray[np.floating], NDArray[np.float64], int]: ...

def hull_project_few(
    vertices: Array,
    beta: float,
    queries: Array,
    tolerance: float,
    threads: int,
    weights: str,
) -> tuple[Any, NDArray[np.floating], NDArray[np.float64], int]: ...
def hull_isas() -> list[str]: ...
def hull_project_cuda(
    vertices: Array, beta: float, queries: Array, tolerance: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...
def hull_scores_cuda(pool: Array, group: Array, groups: int, spread: Array, subsets: Array) -> NDArray[np.float64]: ...

class HullPool:
    def __init__(self, pool: Array, group: Array, groups: int, spread: Array, threads: int) -> None: ...
    def scores(self, subsets: Array, threads: int) -> NDArray[np.float64]: ...
    def best(self, subsets: Array, bound: float, threads: int) -> tuple[int, float]: ...
    def log_volumes(self, subsets: Array, threads: int) -> NDArray[np.float64]: ...
    def distances(self, subset: Array, threads: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...

class ModulatedConv:
    """One layer's arrays; images are [batch, height, width, channels]."""

    def __init__(
        self,
        *,
        x: Array,
        weight: Array,
        styles: Array,
        noise: Array | None = None,
        strength: float = 0.0,
        bias: Array | None = None,
        up: bool = False,
        demodulate: bool = True,
        slope: float = 1.0,
        gain: float = 1.0,
        clamp: float = 3.4e38,
    ) -> None: ...
    def forward(self, *, y: Array, demod: Array, stream: int = 0) -> None: ...
    def backward(
        self,
        *,
        y: Array,
        demod: Array,
        dy: Array,
        dx: Array | None = None,
        dstyles: Array | None = None,
        dweight: Array | None = None,
        dbias: Array | None = None,
        dstrength: Array | None = None,
        stream: int = 0,
    ) -> None: ...

def stylegan_isa() -> tuple[str, str]: ...

class SynthesisLayer:
    def __init__(
        self,
        *,
        affine_weight: Array,
        affine_bias: Array,
        weight: Array,
        bias: Array,
        noise_strength: Array | None = None,
        noise: Array | None = None,
    ) -> None: ...

class SynthesisWeights:
    """A network's arrays, or those of its gradients."""

    def __init__(self, *, constant: Array, layers: Sequence[SynthesisLayer], clamp: float | None = None) -> None: ...

class SynthesisPass:
    """One forward pass for learning, which is run by making it, and what its backward pass needs."""

    def __init__(self, weights: SynthesisWeights, *, ws: Array, image: Array, precision: str) -> None: ...
    def backward(
        self, *, dimage: Array, gradients: SynthesisWeights | None = None, dws: Array | None = None
    ) -> None: ...

class PackedSynthesis:
    """A network for inference, its weights packed once."""

    def __init__(self, weights: SynthesisWeights, *, precision: str) -> None: ...
    def run(self, *, ws: Array, out: Array) -> None: ...
    @property
    def weight_bytes(self) -> int: ...
    @property
    def arena_bytes(self) -> int: ...

class VolumeRendering:
    """The arrays of one rendering of tri-planes."""

    def __init__(
        self,
        *,
        planes: Array,
        hidden_weight: Array,
        hidden_bias: Array,
        out_weight: Array,
        out_bias: Array,
        origins: Array,
        directions: Array,
        depths: Array,
        quantiles: Array | None = None,
        axes: Sequence[tuple[int, int]],
        box_warp: float,
        white_back: bool = False,
        stop: float = 0.0,
        skip: float = 0.0,
    ) -> None: ...
    def forward(self, *, features: Array, depth: Array, opacity: Array) -> None: ...
    def backward(
        self,
        *,
        dfeatures: Array,
        ddepth: Array,
        dopacity: Array,
        dplanes: Array | None = None,
        dhidden_weight: Array | None = None,
        dhidden_bias: Array | None = None,
        dout_weight: Array | None = None,
        dout_bias: Array | None = None,
    ) -> None: ...

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

def fast_bf16() -> bool: ...

class Encoder:
    """From photos [n, R, R, 3] float32 in [-1, 1] to codes in W, in one pass."""

    def __init__(self, weights: dict[str, Floats]) -> None: ...
    def __call__(self, images: Floats) -> Floats: ...

class Targets:
    """Photos prepared for comparison."""

    def __len__(self) -> int: ...
    @property
    def resolution(self) -> int: ...

def join_targets(parts: Sequence[Targets]) -> Targets: ...

class ReconstructionLoss:
    """MobileNetV2 distance and squared error of pictures [n, R, R, 3] float32 in [-1, 1]."""

    def __init__(self, weights: dict[str, Floats], side: int, mse_weight: float, fast: bool) -> None: ...
    def prepare(self, images: Floats) -> Targets: ...
    def __call__(
        self, images: Floats, targets: Targets, index: Indices | None, gradient: bool
    ) -> tuple[Floats, Floats | None]: ...
    @property
    def fast(self) -> bool: ...

class Learner:
    """A StyleGAN2 synthesis network that is looked at and tuned."""

    def __init__(
        self,
        weights: dict[str, Floats],
        factors: dict[str, Floats],
        factor_scale: float,
        clamp: float,
        loss: ReconstructionLoss,
    ) -> None: ...
    def render(self, codes: Floats) -> Floats: ...
    def losses(self, codes: Floats, targets: Targets, index: Indices | None) -> Floats: ...
    def loss_and_gradient(self, codes: Floats, targets: Targets, index: Indices | None) -> tuple[Floats, Floats]: ...
    def pull_back(self, codes: Floats, gradient: Floats) -> Floats: ...
    def step(self, codes: Floats, targets: Targets, index: Indices, learning_rate: float) -> float: ...
    def weights(self) -> dict[str, Floats]: ...
    def tuned(self) -> dict[str, Floats]: ...
    def state(self) -> dict[str, Any]: ...
    def restore(self, values: Floats, mean: Floats, square: Floats, steps: int) -> None: ...
    @property
    def memory_bytes(self) -> int: ...
