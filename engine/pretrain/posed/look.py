"""Renderings of a 3D base to look at."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from everface.engine.generators.eg3d.generator import TriPlaneGenerator
from everface.engine.latents.space import normal_z
from everface.engine.perception.tensors import to_images
from everface.engine.pictures import grid_of
from everface.engine.pretrain.posed.poses import aligned_camera

_SEED, _YAWS = 1234, (-30.0, -15.0, 0.0, 15.0, 30.0)


@torch.no_grad()
def look_at(generator: TriPlaneGenerator, pitch: float = 0.0, columns: int = 10) -> NDArray[np.uint8]:
    """Rows: the same random heads from five sides, and their depth from the front (near is bright)."""
    ws = generator.mapping(normal_z(columns, generator.config.backbone.z_dim, _SEED))
    planes = generator.planes(ws)
    rows = []
    for yaw in _YAWS:
        camera = torch.from_numpy(aligned_camera(yaw, pitch)).float()
        view = generator.view(planes, ws, camera[None].expand(columns, -1))
        rows.append(view.image)
        if yaw == 0:
            depth = _depth_picture(generator, view.depth)
    return grid_of(to_images(torch.cat([*rows, depth])), columns)


def _depth_picture(generator: TriPlaneGenerator, depth: Tensor) -> Tensor:
    rays = generator.config.render
    return (1 - 2 * (depth - rays.ray_start) / (rays.ray_end - rays.ray_start)).expand(-1, 3, -1, -1)
