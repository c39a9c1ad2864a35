"""The discriminator on frozen features, against what its source says."""

from __future__ import annotations

import torch

from everface.engine.perception.perceptual import PerceptualDistance
from everface.engine.pretrain.discriminator import FeatureDiscriminator


def test_the_feature_discriminator_judges_and_its_features_stay() -> None:
    judge = FeatureDiscriminator(PerceptualDistance.load())
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2)).mul(0.3).requires_grad_()
    logits = judge(images)
    assert [tuple(x.shape) for x in logits] == [(2, 1, 8, 8)] * 4
    sum(x.sum() for x in logits).backward()
    assert images.grad is not None and images.grad.abs().max() > 0
    assert all(p.grad is None for p in [*judge.ccm.parameters(), *judge.csm.parameters()])
    assert all(p.grad is not None for p in judge.heads.parameters())
