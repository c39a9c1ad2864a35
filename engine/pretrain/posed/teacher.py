"""The 2D base as a teacher: the picture of a code, turned to the front in W."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.latents.space import WStatistics
from everface.engine.numerics import compute_dtype
from everface.engine.ops.synthesis.learning import synthesize


def pose_reader(w: WStatistics, step: Tensor) -> Tensor:
    """[d] what best tells how far a code has moved along a step: ``reader @ step`` is 1, and its variance is least."""
    spread = w.covariance + 1e-2 * w.covariance.diagonal().mean() * torch.eye(len(step))
    found: Tensor = torch.linalg.solve(spread, step)
    scale: Tensor = found @ step
    return found / scale


@dataclass(frozen=True, eq=False)
class Teacher:
    """A 2D generator whose W has directions for yaw and pitch.

    Attributes:
        generator: not changed.
        steps: directions [d] that turn the head. Empty for a base without.
        w: its W.
    """

    generator: Generator
    steps: tuple[NDArray[np.float32], ...]
    w: WStatistics

    @torch.no_grad()
    def pictures(self, ws: Tensor) -> Tensor:
        """Pictures [n, 3, r, r] of codes [n, d], with their own pose taken out."""
        for one in self.steps:
            step = torch.from_numpy(one)
            ws = ws - ((ws - self.w.mean) @ pose_reader(self.w, step))[:, None] * step
        return synthesize(self.generator.synthesis.weights(), ws, dtype=compute_dtype())
