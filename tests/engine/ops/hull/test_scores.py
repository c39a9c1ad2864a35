"""ER-Hull's score: invariances, agreement of the implementations, hostile input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everface.engine.errors import UsageError
from everface.engine.ops.hull.projection import project_to_hull
from everface.engine.ops.hull.scores import PoolScorer, hull_scores, simplex_log_volumes

few = settings(max_examples=40, deadline=None, derandomize=True)


@st.composite
def pools(draw):
    n, d, b = draw(st.integers(3, 20)), draw(st.integers(1, 40)), draw(st.integers(1, 18))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    groups = rng.integers(0, draw(st.integers(1, 4)), size=n)
    pool = rng.normal(size=(n, d)) + groups[:, None]
    if draw(st.booleans()):
        pool[rng.integers(n)] = pool[rng.integers(n)]
    subsets = np.stack([rng.choice(n, min(b, n - 1), replace=False) for _ in range(6)])
    return pool, groups, subsets, rng.random(n)


@few
@given(pools())
def test_score_is_the_mean_distance_to_the_hull(problem):
    pool, groups, subsets, spread = problem
    for subset, score in zip(subsets, hull_scores(pool, groups, subsets, spread), strict=True):
        means = []
        for group in np.unique(groups):
            rest = np.setdiff1d(np.flatnonzero(groups == group), subset)
            if len(rest):
                means.append(project_to_hull(pool[rest], pool[subset]).distance.mean())
            else:
                means.append(spread[groups == group].mean())
        assert np.isclose(score, np.mean(means), rtol=1e-7, atol=1e-6)


@few
@given(pools(), st.integers(0, 2**32), st.sampled_from([1e-100, 1e-6, 1.0, 1e6, 1e100]))
def test_score_is_invariant(problem, seed, scale):
    pool, groups, subsets, spread = problem
    rng = np.random.default_rng(seed)
    n, d = pool.shape
    rotation, shift = np.linalg.qr(rng.normal(size=(d, d)))[0], rng.normal(size=d)
    order = rng.permutation(n)
    place = np.argsort(order)  # where each item went
    base = hull_scores(pool, groups, subsets, spread)
    moved = ((pool @ rotation + shift) * scale)[order]
    shuffled = rng.permuted(place[subsets], axis=1)
    found = hull_scores(moved, 7 - groups[order], shuffled, spread[order] * scale)
    assert np.allclose(found / scale, base, rtol=1e-7, atol=1e-6)
    if subsets.shape[1] <= d and len(np.unique(pool, axis=0)) == n:
        edges = subsets.shape[1] - 1
        volumes = simplex_log_volumes(moved, shuffled) - edges * np.log(scale)
        flat = simplex_log_volumes(pool, subsets)
        assert np.allclose(volumes[flat > -10], flat[flat > -10], atol=1e-4)


@few
@given(pools())
def test_implementations_and_bounds_agree(problem):
    pool, groups, subsets, spread = problem
    scores = hull_scores(pool, groups, subsets, spread)
    assert np.allclose(scores, hull_scores(pool, groups, subsets, spread, impl="reference"), rtol=1e-5, atol=1e-5)
    row, best = PoolScorer(pool, groups, spread).best(subsets)
    assert best == scores.min() and scores[row] == best


@pytest.mark.parametrize("impl", ["cpu", "reference"])
def test_pools_that_are_not_finite_are_refused(impl):
    pool = np.ones((4, 3))
    pool[2, 1] = np.nan
    with pytest.raises(UsageError, match=r"pool: expected finite"):
        hull_scores(pool, np.zeros(4), np.array([[0, 1]]), np.ones(4), impl=impl)
    with pytest.raises(UsageError, match=r"spread: expected finite"):
        hull_scores(np.ones((4, 3)), np.zeros(4), np.array([[0, 1]]), np.full(4, np.inf), impl=impl)
