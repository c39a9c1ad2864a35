"""The critic of samples: it learns to tell them, asks nothing of reconstructions, and keeps its proportion."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from everface.engine.perception.perceptual import TAPS, PerceptualDistance
from everface.engine.pretrain.critic import SampleCritic, seen
from everface.engine.pretrain.discriminator import FeatureDiscriminator
from everface.engine.pretrain.distributed import Team


def pictures(n: int, seed: int) -> torch.Tensor:
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture
def critic() -> SampleCritic:
    torch.manual_seed(0)
    network = FeatureDiscriminator(PerceptualDistance.load())
    return SampleCritic(
        network, torch.optim.Adam(network.heads.parameters(), 2e-3, (0.0, 0.99)), Team(0, 1, torch.device("cpu")), 0.5
    )


def test_it_learns_to_tell_samples_from_photos(critic: SampleCritic) -> None:
    perceptual = PerceptualDistance.load()
    smooth = torch.nn.functional.avg_pool2d(pictures(4, 1), 9, 1, 4)
    photos, samples = (perceptual.activations(x, TAPS) for x in (pictures(4, 2), smooth))
    losses = [float(critic.learn(photos, samples)) for _ in range(12)]
    assert losses[-1] < 0.7 * losses[0]
    assert not any(p.requires_grad for p in critic.network.heads.parameters())


def test_it_asks_of_samples_alone_as_steeply_as_is_its_share(critic: SampleCritic) -> None:
    perceptual = PerceptualDistance.load()
    images = pictures(5, 3).requires_grad_()
    found = perceptual.activations(images, TAPS)
    likeness = (images[:3] - 0.2).square().mean()
    critic.learn(found, [x[3:] for x in found])
    (asked,) = torch.autograd.grad(
        critic.objection(0, [x[3:] for x in found], likeness, images), images, retain_graph=True
    )
    (wanted,) = torch.autograd.grad(likeness, images)
    assert asked[:3].abs().max() == 0
    steep = [float(x.flatten(1).norm(dim=1).mean()) for x in (asked[3:], wanted[:3])]
    assert steep[0] == pytest.approx(0.5 * steep[1], rel=1e-2)  # bfloat16 rounds by 2^-8


def test_photos_and_images_are_looked_at_alike() -> None:
    photos, images = pictures(2, 4), pictures(3, 5)
    images[:2] = photos
    a, b = seen(photos, images, np.random.default_rng(0))
    torch.testing.assert_close(a, b[:2])
    assert not torch.allclose(a, photos)
