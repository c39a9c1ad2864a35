"""Augmentation, against what its source says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from everface.engine.pretrain.posed.augment import diff_augment, translate


@pytest.mark.parametrize("n", [0, 1, 5])
@pytest.mark.parametrize("change", [diff_augment, translate])
def test_augmentation_is_seeded_and_keeps_the_shape(n: int, change: Callable[..., torch.Tensor]) -> None:
    images = torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(3)) * 2 - 1
    a, b, c = (change(images, torch.Generator().manual_seed(seed)) for seed in (1, 1, 3))
    assert a.shape == images.shape
    assert torch.equal(a, b)
    assert n == 0 or not torch.equal(a, c)


def test_a_translated_picture_is_the_picture_moved() -> None:
    images = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(4)) + 1
    moved = translate(images, torch.Generator().manual_seed(5))
    found = [
        (dy, dx)
        for dy in range(-2, 3)
        for dx in range(-2, 3)
        if torch.equal(F.pad(images, (2, 2, 2, 2))[..., 2 + dy : 18 + dy, 2 + dx : 18 + dx], moved)
    ]
    assert len(found) == 1
