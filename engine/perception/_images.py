"""Checks and resizing that the perceptual modules share."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from everface.engine.errors import UsageError


def require_images(name: str, images: Tensor, least_side: int = 16) -> None:
    """Checks for a batch of square RGB images in floating point.

    Raises:
        UsageError: not such a batch.
    """
    shape = tuple(images.shape)
    remedy = "pass a float tensor [n, 3, side, side] in [-1, 1]"
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3] or shape[2] < least_side:
        expected = f"shape [n, 3, side, side] with side >= {least_side}"
        raise UsageError(name, expected=expected, found=f"shape {list(shape)}", remedy=remedy)
    if not images.is_floating_point():
        raise UsageError(name, expected="a floating-point tensor", found=str(images.dtype), remedy=remedy)


def shrink_to_at_most(images: Tensor, side: float) -> Tensor:
    """Averages blocks of whole pixels until the side is below twice ``side``: sampling then does not alias."""
    factor = math.floor(images.shape[-1] / side)
    return F.avg_pool2d(images, factor) if factor > 1 else images
