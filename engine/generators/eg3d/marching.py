"""Volume rendering in two passes (Chan et al. 2022, section 4.3; NeRF's quadrature at interval middles)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from everface.engine.generators.eg3d.cameras import Rays
from everface.engine.generators.eg3d.config import RenderConfig
from everface.engine.generators.eg3d.planes import sample_planes
from everface.engine.generators.eg3d.sampling import Jitter, importance_depths, stratified_depths

__all__ = ["Field", "March", "composite", "interval_weights", "render_rays"]

Decoder = Callable[[Tensor], tuple[Tensor, Tensor]]
# Without gradients, rays are rendered this many at a time: 2048 rays of 48 samples take about 50 MB.
_CHUNK = 2048


@dataclass(frozen=True, eq=False)
class Field:
    """A volume: planes [n, 3, features, h, w], the decoder of their features, and the settings."""

    planes: Tensor
    decoder: Decoder
    config: RenderConfig

    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Densities [n, m, 1], before softplus, and colours [n, m, features] of points [n, m, 3]."""
        return self.decoder(sample_planes(self.planes, points, self.config))


@dataclass(frozen=True, eq=False)
class March:
    """What rays gather.

    Attributes:
        features: [n, rays, features], about [-1, 1].
        depth: [n, rays, 1] mean distance of what a ray sees; the farthest sample's where it sees nothing.
        opacity: [n, rays, 1] in [0, 1].
    """

    features: Tensor
    depth: Tensor
    opacity: Tensor


def interval_weights(densities: Tensor, depths: Tensor) -> Tensor:
    """How much of a ray's light comes from each interval [n, rays, s - 1].

    Density is softplus(value - 1) at the interval's middle, and the transmittance before an interval is exp of minus
    the matter before it.

    Args:
        densities: [n, rays, s, 1], before softplus.
        depths: [n, rays, s], ascending.
    """
    density = F.softplus(0.5 * (densities[:, :, :-1, 0] + densities[:, :, 1:, 0]) - 1.0)
    matter = density * (depths[..., 1:] - depths[..., :-1])
    before = torch.cumsum(matter, dim=-1) - matter
    return (1 - torch.exp(-matter)) * torch.exp(-before)


def composite(densities: Tensor, colours: Tensor, depths: Tensor, white_back: bool = False) -> March:
    """Gathers sorted samples [n, rays, s, ...]; the depth of a ray that sees nothing is NaN here."""
    weights = interval_weights(densities, depths)
    opacity = weights.sum(dim=-1, keepdim=True)
    # Middles of neighbours: half of a sample's weight is that of either interval beside it.
    ends = F.pad(weights, (1, 1))
    shares = 0.5 * (ends[..., :-1] + ends[..., 1:])
    features = (shares[..., None, :] @ colours)[:, :, 0]
    if white_back:
        features = features + 1 - opacity
    depth = (shares * depths).sum(dim=-1, keepdim=True) / opacity
    return March(features * 2 - 1, depth, opacity)


def render_rays(field: Field, rays: Rays, jitter: Jitter) -> March:
    """Renders rays in two passes.

    Args:
        field: the volume.
        rays: [n, rays, 3] each.
        jitter: the noise; :meth:`Jitter.midpoints` for none.
    """
    count = rays.directions.shape[1]
    depths = stratified_depths(rays.directions, field.config, jitter)
    chunk = count if torch.is_grad_enabled() or torch.onnx.is_in_onnx_export() else _CHUNK
    parts = []
    for start in range(0, count, chunk):
        stop = min(start + chunk, count)
        some = Rays(rays.origins[:, start:stop], rays.directions[:, start:stop])
        parts.append(_march(field, some, depths[:, start:stop], jitter.rays(start, stop)))
    features, depth, opacity = (
        torch.cat([getattr(part, name) for part in parts], dim=1) for name in ("features", "depth", "opacity")
    )
    return March(features, torch.where(opacity > 0, depth, depths.max()), opacity)


def _march(field: Field, rays: Rays, depths: Tensor, jitter: Jitter) -> March:
    densities, colours = _samples(field, rays, depths)
    if field.config.importance_samples:
        finer = importance_depths(depths, interval_weights(densities, depths), jitter)
        more = _samples(field, rays, finer)
        depths, order = torch.sort(torch.cat((depths, finer), dim=-1), dim=-1)
        index = order[..., None]
        densities = torch.cat((densities, more[0]), dim=2).gather(2, index)
        colours = torch.cat((colours, more[1]), dim=2)
        colours = colours.gather(2, index.expand(-1, -1, -1, colours.shape[-1]))
    return composite(densities, colours, depths, field.config.white_back)


def _samples(field: Field, rays: Rays, depths: Tensor) -> tuple[Tensor, Tensor]:
    """Densities [n, rays, s, 1] and colours [n, rays, s, features] at depths [n, rays, s]."""
    n, count, samples = depths.shape
    points = rays.origins[:, :, None] + depths[..., None] * rays.directions[:, :, None]
    densities, colours = field(points.reshape(n, count * samples, 3))
    return densities.reshape(n, count, samples, 1), colours.reshape(n, count, samples, -1)
