"""The NumPy reference against scipy's NNLS and the definition of the score."""

import numpy as np
import pytest
from scipy.optimize import nnls

from everface.engine.ops.hull.reference import simplex_qp
from everface.engine.ops.hull.scores import hull_scores


def nnls_distance(point, vertices):
    heavy = 1e6
    A = np.vstack([(vertices - point).T, np.full(len(vertices), heavy)])
    w, _ = nnls(A, np.r_[np.zeros(vertices.shape[1]), heavy])
    return np.linalg.norm(point - w / w.sum() @ vertices)


@pytest.mark.parametrize("b", [1, 2, 3, 5, 9])
def test_simplex_qp_agrees_with_nnls(b):
    rng = np.random.default_rng(b)
    for d in (2, 20):
        V, points = rng.normal(size=(b, d)), rng.normal(size=(40, d))
        K = np.stack([(V - p) @ (V - p).T for p in points])
        w = simplex_qp(K)
        assert (w >= 0).all() and np.allclose(w.sum(axis=1), 1)
        found = np.linalg.norm(points - w @ V, axis=1)
        assert np.allclose(found, [nnls_distance(p, V) for p in points], atol=1e-5)


def test_score_is_the_papers():
    rng = np.random.default_rng(0)
    pool, groups = rng.normal(size=(7, 30)), np.array([0, 0, 0, 1, 1, 2, 2])
    spread = rng.random(7)
    subset = np.array([[0, 3, 5, 6]])
    per_timestamp = [
        np.mean([nnls_distance(pool[i], pool[subset[0]]) for i in (1, 2)]),
        nnls_distance(pool[4], pool[subset[0]]),
        spread[5:].mean(),
    ]
    assert np.allclose(hull_scores(pool, groups, subset, spread), np.mean(per_timestamp), rtol=1e-6)
