"""Rays of a camera given as EG3D's label of 25 numbers.

The label is the camera-to-world matrix [4, 4], row by row, in OpenCV's camera axes (x right, y down, z forward), then
the intrinsics [3, 3] normalised by the image's side. The world has y up and the face looks along +z.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from everface.engine.errors import UsageError
from everface.engine.generators.eg3d.config import LABEL_DIM


@dataclass(frozen=True, eq=False)
class Rays:
    """Rays in world units.

    Attributes:
        origins: [n, rays, 3].
        directions: [n, rays, 3], of length one.
    """

    origins: Tensor
    directions: Tensor


def camera_rays(c: Tensor, resolution: int) -> Rays:
    """One ray through the centre of each pixel, row by row from the upper left.

    Args:
        c: labels [n, 25].
        resolution: pixels of a side.

    Raises:
        UsageError: not labels.
    """
    if c.ndim != 2 or c.shape[1] != LABEL_DIM:
        raise UsageError("c", expected=f"camera labels [n, {LABEL_DIM}]", found=str(tuple(c.shape)))
    pose, lens = c[:, :16].reshape(-1, 4, 4), c[:, 16:].reshape(-1, 3, 3)
    centres = (torch.arange(resolution, dtype=c.dtype, device=c.device) + 0.5) / resolution
    u, v = centres.repeat(resolution)[None], centres.repeat_interleave(resolution)[None]
    y = (v - lens[:, 1, 2, None]) / lens[:, 1, 1, None]
    # u = fx x + skew y + cx, so the skew is taken off before the focal length.
    x = (u - lens[:, 0, 2, None] - lens[:, 0, 1, None] * y) / lens[:, 0, 0, None]
    turned = torch.stack((x, y, torch.ones_like(x)), dim=2) @ pose[:, :3, :3].transpose(1, 2)
    directions = turned * torch.rsqrt(turned.square().sum(dim=2, keepdim=True))
    return Rays(pose[:, None, :3, 3].expand_as(directions), directions)
