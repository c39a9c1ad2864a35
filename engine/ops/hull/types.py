"""What hull operators take and give."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError

_WEIGHTS = ("dense", "sparse", "none")


@dataclass(frozen=True)
class ProjectOptions:
    """How to project.

    Attributes:
        tolerance: largest relative duality gap; None is 1e-8 in float64 and 1e-5 in float32.
        weights: ``"dense"`` [n, m], ``"sparse"`` (only those above their lower limit) or ``"none"``.
        threads: CPU threads; 0 takes all that this process may use.
    """

    tolerance: float | None = None
    weights: str = "dense"
    threads: int = 0

    def __post_init__(self) -> None:
        if self.tolerance is not None and not 1e-14 <= self.tolerance < 1:
            raise UsageError("tolerance", expected="1e-14 to 1", found=repr(self.tolerance))
        if self.weights not in _WEIGHTS:
            raise UsageError("weights", expected=f"one of {', '.join(_WEIGHTS)}", found=repr(self.weights))
        if not 0 <= self.threads <= 1024:
            raise UsageError("threads", expected="0 to 1024", found=repr(self.threads))

    def gap(self, dtype: np.dtype[np.generic]) -> float:
        """The tolerance for queries of that type."""
        default = 1e-5 if dtype == np.float32 else 1e-8
        return default if self.tolerance is None else self.tolerance


@dataclass(frozen=True)
class SparseWeights:
    """Weights above their lower limit, compressed by rows.

    Attributes:
        start: [n + 1] int64; row i is ``start[i]:start[i + 1]`` of the others.
        index: int32, the vertex.
        value: what the weight exceeds the lower limit -beta by.
    """

    start: NDArray[np.int64]
    index: NDArray[np.int32]
    value: NDArray[np.floating]

    def dense(self, m: int, beta: float = 0.0) -> NDArray[np.floating]:
        """All weights, [n, m]."""
        n = len(self.start) - 1
        weights = np.full((n, m), 0.0 - beta, dtype=self.value.dtype)
        rows = np.repeat(np.arange(n), np.diff(self.start))
        weights[rows, self.index] += self.value
        return weights


@dataclass(frozen=True)
class Projection:
    """Nearest points of a hull.

    Attributes:
        weights: [n, m] in the queries' type (rows sum to 1), or ``SparseWeights``, or None.
        distance: [n] to the hull, in the latents' units.
        gap: [n] certified relative duality gap: (distance^2 - lower bound^2) / max(distance^2, (t radius)^2), where t
            is 1e-6 in float64 and 1e-3 in float32, and the radius is the hull's about the mean of its vertices.
    """

    weights: NDArray[np.floating] | SparseWeights | None
    distance: NDArray[np.floating]
    gap: NDArray[np.float64]


def thread_count(threads: int) -> int:
    """Threads to use: as asked, or all that this process may run on."""
    if threads:
        return threads
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
