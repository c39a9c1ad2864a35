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

def hull_prepare(vertices: NDArray[np.floating], beta: float, threads: int, affine: bool, isa: str) -> PreparedHull: ...
def hull_isas() -> list[str]: ...
