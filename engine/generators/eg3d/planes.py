"""Features of points from three planes (Chan et al. 2022, section 4.1)."""

from __future__ import annotations

from torch import Tensor

from everface.engine.generators.eg3d.config import PLANE_AXES, RenderConfig
from everface.engine.ops.volume import reference as volume_reference


def sample_planes(planes: Tensor, points: Tensor, config: RenderConfig) -> Tensor:
    """Mean of the three planes' bilinear samples; zero outside of the cube.

    Args:
        planes: [n, 3, features, h, w].
        points: [n, m, 3] in world units.
        config: the cube and the plane axes.

    Returns:
        Features [n, m, features].
    """
    return volume_reference.sample_planes(planes, points, PLANE_AXES[config.plane_axes], config.box_warp)
