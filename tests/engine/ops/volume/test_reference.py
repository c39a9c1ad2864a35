"""The reference renders what can be computed by hand."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from everface.engine.ops.volume.reference import composite, importance_depths, interval_weights, sample_planes

AXES = ((0, 1), (0, 2), (2, 0))


def test_planes_are_averaged_where_they_meet_and_zero_outside():
    planes = torch.tensor([1.0, 2.0, 6.0]).reshape(1, 3, 1, 1, 1).expand(1, 3, 2, 4, 4)
    points = torch.tensor([[[0.0, 0.1, -0.1], [2.0, 2.0, 2.0]]])
    torch.testing.assert_close(sample_planes(planes, points, AXES, 1.0), torch.tensor([[[3.0, 3.0], [0.0, 0.0]]]))


def test_uniform_fog_follows_beers_law():
    depths = torch.linspace(1, 3, 5, dtype=torch.float64)[None, None]
    densities = torch.full((1, 1, 5, 1), 0.7, dtype=torch.float64)
    matter = float(F.softplus(torch.tensor(0.7 - 1.0, dtype=torch.float64))) * 0.5
    weights = interval_weights(densities, depths)
    expected = [math.exp(-matter * i) * (1 - math.exp(-matter)) for i in range(4)]
    torch.testing.assert_close(weights[0, 0], torch.tensor(expected, dtype=torch.float64))
    colours = torch.full((1, 1, 5, 2), 0.25, dtype=torch.float64)
    features, depth, opacity = composite(densities, colours, depths, white_back=False)
    torch.testing.assert_close(opacity.flatten(), torch.tensor([1 - math.exp(-4 * matter)], dtype=torch.float64))
    torch.testing.assert_close(features, 2 * 0.25 * opacity.expand(1, 1, 2) - 1)
    assert 1 < float(depth) < 3
    white, _, _ = composite(densities, colours, depths, white_back=True)
    torch.testing.assert_close(white, features + 2 * (1 - opacity))


def test_importance_samples_gather_where_the_light_comes_from():
    depths = torch.linspace(0, 1, 9, dtype=torch.float64)[None, None]
    weights = torch.zeros(1, 1, 8, dtype=torch.float64)
    weights[..., 4] = 1
    quantiles = (torch.arange(100, dtype=torch.float64) + 0.5)[None, None] / 100
    finer = importance_depths(depths, weights, quantiles)
    assert (finer.diff() >= 0).all()
    near = ((finer > 0.4) & (finer < 0.75)).double().mean()
    assert near > 0.8
