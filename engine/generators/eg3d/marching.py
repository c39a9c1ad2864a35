"""Volume rendering in two passes (Chan et al. 2022, section 4.3; NeRF's quadrature at interval middles)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from everface.engine.generators.eg3d.cameras import Rays
from everface.engine.generators.eg3d.config import PLANE_AXES, RenderConfig
from everface.engine.generators.eg3d.decoder import OSGDecoder
from everface.engine.generators.eg3d.sampling import Jitter, stratified_depths
from everface.engine.ops.volume import VolumeSettings, render_volume
from everface.engine.ops.volume import reference as volume_reference

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
        return self.decoder(self.features(points))

    def features(self, points: Tensor) -> Tensor:
        """Features [n, m, features] of points in world units: the mean of the three planes' bilinear samples (Chan et
        al. 2022, section 4.1); zero outside of the cube.
        """
        axes = PLANE_AXES[self.config.plane_axes]
        return volume_reference.sample_planes(self.planes, points, axes, self.config.box_warp)


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


def march_rays(field: Field, rays: Rays, jitter: Jitter, *, impl: str = "auto") -> March:
    """Renders rays by the fused kernels where they can, else as ``render_rays`` does.

    They can with the published decoder; not while a graph is exported, and not for gradients of the camera.

    Args:
        field: the volume.
        rays: [n, rays, 3] each.
        jitter: the noise; ``Jitter.midpoints`` for none.
        impl: see ``everface.engine.ops.render_volume``.
    """
    decoder = field.decoder
    if not isinstance(decoder, OSGDecoder) or torch.onnx.is_in_onnx_export():
        return render_rays(field, rays, jitter)
    config = field.config
    gathered = render_volume(
        field.planes,
        decoder.matrices(),
        (rays.origins, rays.directions),
        stratified_depths(rays.directions, config, jitter, spread=False),
        jitter.importance if config.importance_samples else None,
        VolumeSettings(PLANE_AXES[config.plane_axes], config.box_warp, config.white_back),
        impl=impl,
    )
    return March(*gathered)


def render_rays(field: Field, rays: Rays, jitter: Jitter) -> March:
    """Renders rays in two passes, in plain PyTorch.

    Args:
        field: the volume.
        rays: [n, rays, 3] each.
        jitter: the noise; ``Jitter.midpoints`` for none.
    """
    count = rays.directions.shape[1]
    depths = stratified_depths(rays.directions, field.config, jitter)
    chunk = count if torch.is_grad_enabled() or torch.onnx.is_in_onnx_export() else _CHUNK
    parts = []
    for start in range(0, count, chunk):
        stop = min(start + chunk, count)
        some = rays.origins[:, start:stop], rays.directions[:, start:stop]
        quantiles = jitter.rays(start, stop).importance if field.config.importance_samples else None
        parts.append(volume_reference.march(field, some, depths[:, start:stop], quantiles, field.config.white_back))
    features, depth, opacity = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
    return March(features, torch.where(opacity > 0, depth, depths.max()), opacity)
