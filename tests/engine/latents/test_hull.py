import numpy as np
import pytest

from everface.engine.errors import UsageError
from everface.engine.latents.hull import MYSTYLE_BETA, PersonalHull


def test_placement_is_the_nearest_allowed_combination():
    rng = np.random.default_rng(0)
    anchors, codes = rng.normal(size=(8, 32)), rng.normal(size=(5, 32))
    placed = PersonalHull(anchors).place(codes)
    assert np.allclose(placed.weights.sum(axis=1), 1) and (placed.weights >= -MYSTYLE_BETA - 1e-12).all()
    assert np.allclose(np.linalg.norm(codes - placed.nearest, axis=1), placed.distance)
    for _ in range(200):
        other = rng.dirichlet(np.ones(8)) * (1 + 8 * MYSTYLE_BETA) - MYSTYLE_BETA
        assert (np.linalg.norm(codes - other @ anchors, axis=1) >= placed.distance - 1e-9).all()


def test_dilation_brings_the_hull_nearer():
    rng = np.random.default_rng(1)
    anchors, codes = rng.normal(size=(8, 32)), rng.normal(size=(5, 32))
    hulls = [PersonalHull(anchors, beta) for beta in (0.0, 0.02, 0.2)]
    distances = np.stack([hull.place(codes).distance for hull in hulls])
    assert (np.diff(distances, axis=0) <= 1e-12).all() and distances[2].sum() < distances[0].sum()


def test_pull_ends_on_the_hull():
    rng = np.random.default_rng(2)
    hull = PersonalHull(rng.normal(size=(6, 16)), 0.0)
    codes = rng.normal(size=(3, 16))
    assert np.allclose(hull.place(hull.pull(codes, 1.0)).distance, 0, atol=1e-12)
    assert (hull.pull(codes, 0.0) == codes).all()
    with pytest.raises(UsageError, match="strength"):
        hull.pull(codes, 1.5)
