"""Random choices of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor


@dataclass(eq=False)
class Draws:
    """The random choices of one process; a resumed run draws on from its number of updates."""

    rng: np.random.Generator
    torch: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.torch = torch.Generator().manual_seed(int(self.rng.integers(2**31)))

    def z(self, n: int, dim: int) -> Tensor:
        """Standard normal codes [n, dim]."""
        return torch.from_numpy(self.rng.standard_normal((n, dim), dtype=np.float32))
