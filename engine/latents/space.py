"""Statistics of a generator's W space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from everface.engine.generators.protocol import FaceGenerator

__all__ = ["WStatistics", "normal_z", "w_statistics"]


@dataclass(frozen=True, eq=False)
class WStatistics:
    """Mean [d] and covariance [d, d] of W under the mapping network."""

    mean: Tensor
    covariance: Tensor


def normal_z(n: int, dim: int, seed: int) -> Tensor:
    """Standard normal Z codes [n, dim] from NumPy's PCG64, so that runtimes without torch draw the same."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, dim), dtype=np.float32))


@torch.no_grad()
def w_statistics(
    generator: FaceGenerator, samples: int = 10_000, seed: int = 0, *, camera: Tensor | None = None
) -> WStatistics:
    """Measures W on random Z codes (10,000 samples: the mean is off by one percent of a standard deviation).

    Of a 3D generator that is told the camera, under one camera [1, 25] for all.
    """
    w = generator.map(normal_z(samples, generator.z_dim, seed), camera)
    return WStatistics(w.mean(dim=0), torch.cov(w.t()))
