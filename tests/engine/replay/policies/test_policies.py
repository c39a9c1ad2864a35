"""Every policy keeps the protocol; the paper's candidates and score are those of the authors' code."""

from itertools import combinations

import numpy as np
import pytest

from everface.engine.errors import UsageError
from everface.engine.ops.hull.scores import hull_scores
from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.candidates import candidates, count_balanced, draw, enumerate_balanced
from everface.engine.replay.policies.registry import policy, policy_names
from everface.engine.replay.policies.spread import spread_of


def make_pool(sizes, d=12, seed=0):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(sizes)), sizes).astype(np.int64)
    latents = rng.normal(size=(len(sizes), d))[groups] + 0.5 * rng.normal(size=(len(groups), d))
    spread = np.concatenate([spread_of(latents[groups == g]) for g in range(len(sizes))])
    n = len(groups)
    return Pool(latents, groups, np.full(n, 1000, dtype=np.int64), spread, np.full(n, np.nan))


@pytest.mark.parametrize("name", policy_names())
@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 9, 40])
def test_policies_share_one_protocol(name, count):
    pool = make_pool([1, 2, 6])
    before = pool.latents.copy()
    chosen = policy(name).select(pool, count, np.random.default_rng(1))
    expected = 0 if name == "lower" else min(count, len(pool))
    assert chosen.dtype == np.int64 and chosen.shape == (expected,)
    assert (np.diff(chosen) > 0).all() and all(0 <= i < len(pool) for i in chosen)
    assert (pool.latents == before).all()
    again = policy(name).select(pool, count, np.random.default_rng(1))
    assert (chosen == again).all()
    assert policy(name).name == name


@pytest.mark.parametrize("name", policy_names())
def test_policies_survive_duplicates_and_refuse_negative_counts(name):
    pool = make_pool([3, 5])
    same = Pool(np.ones_like(pool.latents), pool.groups, pool.bytes, pool.spread * 0, pool.loss)
    chosen = policy(name).select(same, 4, np.random.default_rng(0))
    assert len(np.unique(chosen)) == len(chosen)
    with pytest.raises(UsageError, match="count"):
        policy(name).select(pool, -1, np.random.default_rng(0))


def test_unknown_policy_lists_the_names():
    with pytest.raises(UsageError, match="er-hull") as error:
        policy("er-hul")
    assert "k-center" in str(error.value)


@pytest.mark.parametrize(("sizes", "expected"), [([20], 1140), ([3, 20], 630), ([2, 1, 20], 40), ([1, 1, 1, 20], 61)])
def test_distinct_candidates_are_the_papers(sizes, expected):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    found = candidates(groups, 3, np.random.default_rng(0))
    assert len(found) == expected == count_balanced(groups, 3)
    assert len(np.unique(found, axis=0)) == expected


def test_enumeration_is_all_balanced_subsets():
    groups = np.repeat([0, 1, 2], [1, 3, 4])
    found = {tuple(row) for row in enumerate_balanced(groups, 5)}
    drawn = {tuple(row) for row in draw(groups, 5, 4000, np.random.default_rng(0))}
    brute = {s for s in combinations(range(8), 5) if np.bincount(groups[list(s)], minlength=3).tolist() == [1, 2, 2]}
    assert found == drawn == brute and count_balanced(groups, 5) == len(brute)


def test_more_than_the_limit_gives_distinct_draws():
    groups = np.repeat([0, 1], [10, 20])
    found = candidates(groups, 10, np.random.default_rng(3))
    assert found.shape == (5000, 10) and len(np.unique(found, axis=0)) == 5000
    assert (np.bincount(groups[found[7]], minlength=2) == 5).all()


def test_er_hull_keeps_the_best_candidate():
    pool = make_pool([3, 8])
    chosen = policy("er-hull").select(pool, 3, np.random.default_rng(0))
    subsets = enumerate_balanced(pool.groups, 3)
    scores = hull_scores(pool.latents, pool.groups, subsets, pool.spread)
    assert (chosen == subsets[scores.argmin()]).all()


def test_spread_is_the_mean_distance_to_the_batch_mates():
    batch = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]], dtype=np.float32)
    assert np.allclose(spread_of(batch), [3.0, (5 + np.sqrt(18)) / 2, (1 + np.sqrt(18)) / 2])
    assert spread_of(batch[:1]).tolist() == [0.0]
    with pytest.raises(UsageError, match="finite"):
        spread_of(np.full((2, 2), np.nan))


def test_reservoir_keeps_each_photo_equally_often():
    pool = make_pool([4, 8])
    hits = np.zeros(12)
    for seed in range(3000):
        hits[policy("reservoir").select(pool, 4, np.random.default_rng(seed))] += 1
    # The 4 old ones stand for a batch of 8, so each of them is twice as likely to stay as each of the new.
    assert np.allclose(hits[:4] / 3000, 0.5, atol=0.04) and np.allclose(hits[4:] / 3000, 0.25, atol=0.04)
