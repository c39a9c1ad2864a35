"""Local search: balanced swaps, and never a worse score than it began with."""

from __future__ import annotations

import numpy as np
import pytest
from tests.engine.replay.policies.test_policies import make_pool

from everface.engine.ops.hull.scores import PoolScorer
from everface.engine.replay.policies.candidates import draw
from everface.engine.replay.policies.search import Balance, descend, guided_descent


def test_swaps_keep_the_balance() -> None:
    groups = np.repeat(np.arange(3), (1, 4, 6))
    balance = Balance.of(groups, 5, constrained=True)
    assert (balance.low.tolist(), balance.high.tolist()) == ([1, 2, 2], [1, 3, 3])
    subset = np.array([0, 1, 2, 5, 6])
    for position, item in balance.swaps(subset):
        changed = subset.copy()
        changed[position] = item
        counts = np.bincount(groups[changed], minlength=3)
        assert (balance.low <= counts).all() and (counts <= balance.high).all()
    free = Balance.of(groups, 5, constrained=False)
    assert len(free.swaps(subset)) == 5 * 6


@pytest.mark.parametrize("search", ["descend", "guided"])
def test_the_score_falls(search: str) -> None:
    pool = make_pool([40, 40, 40] if search == "guided" else [12, 12, 12], d=6)
    count = 20 if search == "guided" else 9
    scorer = PoolScorer(pool.latents, pool.groups, pool.spread)
    balance = Balance.of(pool.groups, count, constrained=True)
    start = draw(pool.groups, count, 1, np.random.default_rng(0))[0]
    score = float(scorer.scores(start[None])[0])
    if search == "descend":
        subset, lower = descend(scorer, balance, start, score)
    else:
        subset, lower = guided_descent(scorer, balance, (start, score), pool.latents, 400)
    assert lower < score
    assert scorer.scores(subset[None])[0] == pytest.approx(lower)
    assert len(set(subset.tolist())) == count
