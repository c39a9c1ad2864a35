"""Where rays are sampled: evenly first, then where the first pass found matter (NeRF's inverse transform sampling)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from everface.engine.generators.eg3d.config import RenderConfig


@dataclass(frozen=True, eq=False)
class Jitter:
    """The random numbers of a rendering, in [0, 1).

    Attributes:
        stratified: [n, rays, samples] places within the intervals of the first pass; broadcasts.
        importance: [n, rays, importance samples] quantiles of the second pass; broadcasts.
    """

    stratified: Tensor
    importance: Tensor

    @classmethod
    def midpoints(cls, config: RenderConfig) -> Jitter:
        """No noise: the middle of every interval, and evenly spaced quantiles."""
        quantiles = (torch.arange(config.importance_samples, dtype=torch.float32) + 0.5) / max(
            config.importance_samples, 1
        )
        return cls(torch.full((1, 1, 1), 0.5), quantiles[None, None])

    @classmethod
    def draw(cls, config: RenderConfig, n: int, rays: int, generator: torch.Generator) -> Jitter:
        """Stratified noise, as the published networks were trained and are shown with."""
        return cls(
            torch.rand(n, rays, config.samples, generator=generator),
            torch.rand(n, rays, config.importance_samples, generator=generator),
        )

    def rays(self, start: int, stop: int) -> Jitter:
        """Those of some of the rays."""
        return Jitter(
            *(
                numbers if numbers.shape[1] == 1 else numbers[:, start:stop]
                for numbers in (self.stratified, self.importance)
            )
        )


def stratified_depths(like: Tensor, config: RenderConfig, jitter: Jitter, *, spread: bool = True) -> Tensor:
    """Depths of the first pass [n, rays, samples], ascending, for ray directions [n, rays, 3].

    A sample lies within one interval behind its evenly spaced place, so the last may lie one behind ``ray_end``.
    Without ``spread`` the result is [1, 1, samples] where all rays share their depths.
    """
    step = (config.ray_end - config.ray_start) / (config.samples - 1)
    even = torch.linspace(config.ray_start, config.ray_end, config.samples, dtype=like.dtype, device=like.device)
    depths = even[None, None] + jitter.stratified.to(like) * step
    return depths.expand(like.shape[0], like.shape[1], config.samples) if spread else depths
