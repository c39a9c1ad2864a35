"""Features of points from three planes (Chan et al. 2022, section 4.1)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from everface.engine.generators.eg3d.config import PLANE_AXES, RenderConfig

__all__ = ["sample_planes"]


def sample_planes(planes: Tensor, points: Tensor, config: RenderConfig) -> Tensor:
    """Mean of the three planes' bilinear samples; zero outside of the cube.

    The projections are constant choices of two coordinates, and the sampling is the 4-D ``grid_sample``: both export.

    Args:
        planes: [n, 3, features, h, w].
        points: [n, m, 3] in world units.
        config: the cube and the plane axes.

    Returns:
        Features [n, m, features].
    """
    scaled = points * (2.0 / config.box_warp)
    total: Tensor | None = None
    for index, (column, row) in enumerate(PLANE_AXES[config.plane_axes]):
        grid = scaled[:, None, :, (column, row)]
        found = F.grid_sample(planes[:, index], grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        total = found if total is None else total + found
    if total is None:
        return points.new_zeros(0)
    return (total * (1.0 / 3.0))[:, :, 0].transpose(1, 2)
