"""DiffAugment: the same random, differentiable changes to real and generated pictures before they are judged."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def diff_augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Changes colour, place and a covered part of each picture (Zhao et al., NeurIPS 2020, "Color + Translation +
    Cutout"; here translation by at most an eighth and a hole of half the side).

    Args:
        images: [n, 3, h, w], about [-1, 1].
        generator: on the CPU; the source of all draws.

    Returns:
        Pictures of the same shape; outside the translated picture and in the hole there are zeros.
    """
    return _cutout(translate(_colour(images, generator), generator), generator)


def _draw(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(len(images), 1, 1, 1, generator=generator).to(images)


def _colour(images: Tensor, generator: torch.Generator) -> Tensor:
    images = images + (_draw(images, generator) - 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = (images - grey) * (2 * _draw(images, generator)) + grey
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * (_draw(images, generator) + 0.5) + mean


def translate(images: Tensor, generator: torch.Generator) -> Tensor:
    """Moves each picture [n, 3, h, w] by at most an eighth along both axes; zeros come in."""
    n, _, h, w = images.shape
    most = h // 8
    padded = F.pad(images, (most, most, most, most))
    places = torch.randint(0, 2 * most + 1, (n, 2), generator=generator).tolist()
    moved = [padded[i, :, y : y + h, x : x + w] for i, (y, x) in enumerate(places)]
    return torch.stack(moved) if moved else images


def _cutout(images: Tensor, generator: torch.Generator) -> Tensor:
    n, _, h, w = images.shape
    mask = torch.ones(n, 1, h, w)
    corners = torch.rand(n, 2, generator=generator)
    for i in range(n):
        top, left = (int(float(corners[i, k]) * (side + 1)) - side // 4 for k, side in ((0, h), (1, w)))
        mask[i, :, max(top, 0) : max(top + h // 2, 0), max(left, 0) : max(left + w // 2, 0)] = 0
    return images * mask.to(images)
