"""everface's C++ and CUDA kernels (built from cpp_ext/)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

def cuda_compiled() -> bool: ...
def cuda_status() -> tuple[bool, str]: ...
def cpu_isa() -> str: ...

class PreparedHull:
    @property
    def vertex_count(self) -> int: ...
    @property
    def dimension(self) -> int: ...
    def project(
        self,
        queries: NDArray[np.floating],
        start: NDArray[np.floating] | None,
        tolerance: float,
        threads: int,
        weights: str,
    ) -> tuple[Any, NDArray[np.floating], NDArray[np.float64], int]: ...

def hull_prepare(vertices: NDArray[np.floating], beta: float, threads: int, many: bool, isa: str) -> PreparedHull: ...
def hull_project_few(
    vertices: NDArray[np.floating],
    beta: float,
    queries: NDArray[np.floating],
    start: NDArray[np.floating] | None,
    tolerance: float,
    threads: int,
    weights: str,
) -> tuple[Any, NDArray[np.floating], NDArray[np.float64], int]: ...
def hull_isas() -> list[str]: ...

class ConvCall:
    def __init__(
        self,
        sizes: list[int],
        up: bool,
        demodulate: bool,
        inputs: list[int],
        noise_step: int,
        scalars: list[float],
    ) -> None: ...

def modulated_conv_f32(call: ConvCall, y: int, demod: int) -> None: ...
def modulated_conv_bf16(call: ConvCall, y: int, demod: int) -> None: ...
def modulated_conv_f64(call: ConvCall, y: int, demod: int) -> None: ...
def modulated_conv_backward_f32(call: ConvCall, y: int, demod: int, dy: int, out: list[int]) -> None: ...
def modulated_conv_backward_bf16(call: ConvCall, y: int, demod: int, dy: int, out: list[int]) -> None: ...
def modulated_conv_backward_f64(call: ConvCall, y: int, demod: int, dy: int, out: list[int]) -> None: ...
def stylegan_isa() -> tuple[str, str]: ...
def set_threads(threads: int) -> None: ...
def get_threads() -> int: ...

class BoundSynthesis:
    def __init__(
        self,
        resolution: int,
        w_dim: int,
        colours: int,
        channels: list[int],
        clamp: float,
        constant: int,
        layers: list[list[int]],
        noise: list[int],
        noise_steps: list[int],
    ) -> None: ...

class ExecutorF32:
    def __init__(self, bound: BoundSynthesis) -> None: ...
    def run(self, batch: int, ws: int, image: int) -> None: ...
    @property
    def weight_bytes(self) -> int: ...
    @property
    def arena_bytes(self) -> int: ...

class ExecutorBF16(ExecutorF32): ...

def scratch_bytes() -> int: ...
def synthesis_saved_bytes_f32(bound: BoundSynthesis, batch: int) -> int: ...
def synthesis_forward_f32(bound: BoundSynthesis, batch: int, ws: int, image: int, saved: int) -> None: ...
def synthesis_backward_f32(
    bound: BoundSynthesis,
    batch: int,
    ws: int,
    dimage: int,
    saved: int,
    dconstant: int,
    grads: list[list[int]],
    dws: int,
) -> None: ...
def synthesis_saved_bytes_bf16(bound: BoundSynthesis, batch: int) -> int: ...
def synthesis_forward_bf16(bound: BoundSynthesis, batch: int, ws: int, image: int, saved: int) -> None: ...
def synthesis_backward_bf16(
    bound: BoundSynthesis,
    batch: int,
    ws: int,
    dimage: int,
    saved: int,
    dconstant: int,
    grads: list[list[int]],
    dws: int,
) -> None: ...
def synthesis_saved_bytes_f64(bound: BoundSynthesis, batch: int) -> int: ...
def synthesis_forward_f64(bound: BoundSynthesis, batch: int, ws: int, image: int, saved: int) -> None: ...
def synthesis_backward_f64(
    bound: BoundSynthesis,
    batch: int,
    ws: int,
    dimage: int,
    saved: int,
    dconstant: int,
    grads: list[list[int]],
    dws: int,
) -> None: ...

class RenderCall:
    def __init__(
        self,
        volume: list[int],
        axes: list[int],
        inputs: list[int],
        rays: list[int],
        scalars: list[float],
        white_back: bool,
    ) -> None: ...

def render_volume_f32(call: RenderCall, out: list[int]) -> None: ...
def render_volume_f64(call: RenderCall, out: list[int]) -> None: ...
def render_volume_backward_f32(call: RenderCall, dout: list[int], grads: list[int]) -> None: ...
def render_volume_backward_f64(call: RenderCall, dout: list[int], grads: list[int]) -> None: ...
def render_isa() -> str: ...

class HullPool:
    def __init__(
        self,
        pool: NDArray[np.float64],
        group: NDArray[np.int32],
        groups: int,
        spread: NDArray[np.float64],
        threads: int,
    ) -> None: ...
    def scores(self, subsets: NDArray[np.int64], threads: int) -> NDArray[np.float64]: ...
    def best(self, subsets: NDArray[np.int64], bound: float, threads: int) -> tuple[int, float]: ...
    def log_volumes(self, subsets: NDArray[np.int64], threads: int) -> NDArray[np.float64]: ...
    def distances(self, subset: NDArray[np.int64], threads: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...

def hull_project_cuda(
    vertices: NDArray[np.float64], beta: float, queries: int, n: int, tolerance: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...
def hull_scores_cuda(
    pool: NDArray[np.float64],
    group: NDArray[np.int32],
    groups: int,
    spread: NDArray[np.float64],
    subsets: NDArray[np.int64],
) -> NDArray[np.float64]: ...
