"""Moment matching: the transport against its definition, the pull against what it promises."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from everface.engine.metrics.frechet import frechet_distance
from everface.engine.perception.perceptual import PerceptualDistance
from everface.engine.pretrain.faces import Faces
from everface.engine.pretrain.moments import MomentMatch, transport


def test_transport_carries_one_covariance_to_the_other_and_is_symmetric() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = (x @ x.T / 40 for x in rng.standard_normal((2, 8, 40)))
    found = transport(ours, theirs, ridge=0.0)
    np.testing.assert_allclose(found, found.T, atol=1e-12)
    np.testing.assert_allclose(found @ ours @ found, theirs, atol=1e-12)
    assert np.linalg.eigvalsh(found).min() > 0


def test_following_the_transport_lowers_the_frechet_distance_to_nothing() -> None:
    rng = np.random.default_rng(2)
    ours = rng.standard_normal((4000, 6)) @ rng.standard_normal((6, 6)) + 1
    theirs = rng.standard_normal((4000, 6)) @ rng.standard_normal((6, 6))
    stretch = transport(np.cov(ours.T), np.cov(theirs.T), ridge=0.0)
    moved = theirs.mean(axis=0) + (ours - ours.mean(axis=0)) @ stretch
    assert frechet_distance(moved, theirs) < 1e-6 < frechet_distance(ours, theirs)


def _faces(rng: np.random.Generator) -> Faces:
    """Smooth blobs of random colours."""
    small = rng.integers(0, 256, (64, 4, 4, 3)).astype(np.float32)
    pixels = small.repeat(16, axis=1).repeat(16, axis=2).astype(np.uint8)
    return Faces(pixels, tuple(str(i) for i in range(64)), np.arange(64), np.arange(0))


def test_pictures_that_follow_the_pull_come_nearer_in_distribution() -> None:
    rng = np.random.default_rng(3)
    faces = _faces(rng)
    match = MomentMatch(PerceptualDistance.load(), faces, rng, real=96, memory=32, size=16, refit=1)
    real = match.features(faces.draw(64, rng))
    images = (torch.randn(32, 3, 64, 64, generator=torch.Generator().manual_seed(4)) * 0.1).requires_grad_()
    assert float(match.loss(images[:16].detach())) == 0.0  # the memory is half full: no transport is known

    def distance() -> float:
        with torch.no_grad():
            return frechet_distance(_array(match.features(images)), _array(real))

    before, optimiser = distance(), torch.optim.Adam([images], lr=0.02)
    for _ in range(12):
        optimiser.zero_grad()
        loss = match.loss(images)
        loss.backward()
        optimiser.step()
    assert float(loss) > 0
    assert distance() < 0.7 * before


def _array(x: Tensor) -> np.ndarray:
    return x.detach().double().numpy()
