"""Discriminators, augmentation and growing, each against what its source says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from everface.engine.generators.bases import load_base
from everface.engine.generators.stylegan2.grow import grow
from everface.engine.ops.resample import upsample_2x
from everface.engine.perception.perceptual import PerceptualDistance
from everface.engine.pretrain.augment import diff_augment, translate
from everface.engine.pretrain.discriminators import FeatureDiscriminator, ImageDiscriminator


def test_a_grown_generator_begins_with_the_enlarged_picture_and_can_be_cut(tiny_base: Path) -> None:
    small = load_base(str(tiny_base)).generator
    w = small.mapping(torch.randn(2, 32, generator=torch.Generator().manual_seed(1)))
    grown = grow(small, 64)
    want = upsample_2x(upsample_2x(small.synthesis(w)))
    torch.testing.assert_close(grown.synthesis(w), want, rtol=0, atol=1e-6)
    torch.testing.assert_close(grown.cut(16).synthesis(w), small.synthesis(w), rtol=0, atol=0)


def test_the_feature_discriminator_judges_and_its_features_stay(tiny_base: Path) -> None:
    judge = FeatureDiscriminator(PerceptualDistance.load())
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2)).mul(0.3).requires_grad_()
    logits = judge(images)
    assert [tuple(x.shape) for x in logits] == [(2, 1, 8, 8)] * 4
    sum(x.sum() for x in logits).backward()
    assert images.grad is not None and images.grad.abs().max() > 0
    assert all(p.grad is None for p in [*judge.ccm.parameters(), *judge.csm.parameters()])
    assert all(p.grad is not None for p in judge.heads.parameters())


def test_the_image_discriminator_has_the_published_names(shared: Path) -> None:
    judge = ImageDiscriminator(64, 4096, 256)
    state = load_file(shared / "models" / "base64_discriminator.safetensors")
    wanted = {name: value.float() for name, value in state.items() if name in judge.state_dict()}
    judge.load_state_dict(wanted)  # the file also has the rgb layers of smaller pictures
    base = load_base("base64").generator
    with torch.no_grad():
        made = base(torch.from_numpy(np.random.default_rng(1).standard_normal((16, 512), dtype=np.float32)))
        assert judge(made)[0].mean() < -0.5
        assert judge(F.avg_pool2d(torch.zeros(4, 3, 128, 128), 2))[0].shape == (4, 1)


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
