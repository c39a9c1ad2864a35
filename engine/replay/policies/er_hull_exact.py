"""`er-hull-exact` and `hull-search`: better optima of ER-Hull's score than the authors' random search finds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.ops.hull_scores import PoolScorer
from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.candidates import (
    CANDIDATE_LIMIT,
    candidates,
    count_balanced,
    draw,
    enumerate_balanced,
)
from everface.engine.replay.policies.common import checked_count
from everface.engine.replay.policies.search import Balance, descend, guided_descent

__all__ = ["ErHullExact", "HullSearch"]

SMALL_WORK = 200_000  # distances (candidates times pool) up to which every draw is scored and every swap tried


def _best(scorer: PoolScorer, subsets: NDArray[np.int64]) -> tuple[NDArray[np.int64], float]:
    scores = scorer.scores(subsets)
    best = int(scores.argmin())
    return subsets[best], float(scores[best])


def _search(pool: Pool, count: int, rng: np.random.Generator, *, constrained: bool) -> NDArray[np.int64]:
    """Descends from the best of the authors' draws (small pools) or of a few draws (large ones)."""
    scorer = PoolScorer(pool.latents, pool.groups, pool.spread)
    balance = Balance.of(pool.groups, count, constrained=constrained)
    if CANDIDATE_LIMIT * len(pool) <= SMALL_WORK and count <= 16:
        start = _best(scorer, candidates(pool.groups, count, rng))
        found, _ = descend(scorer, balance, *start)
    else:
        start = _best(scorer, draw(pool.groups, count, 16, rng))
        found, _ = guided_descent(scorer, balance, start, pool.latents, 1500)
    return np.sort(found)


@dataclass(frozen=True)
class ErHullExact:
    """The least ER-Hull score among the balanced subsets.

    All of them are scored where there are at most ``enumerate_limit``: then the answer is the optimum. Otherwise the
    best of the authors' 5000 draws is improved by swaps that keep the balance, so it is never worse than `er-hull`;
    pools too large to score 5000 draws in reasonable time (more than 40 images, or more than 16 to keep) start from 16
    draws and try the swaps that bounds call promising.

    Attributes:
        enumerate_limit: balanced subsets up to which all are scored.
        name: the policy's name.
    """

    enumerate_limit: int = 20_000
    name: str = "er-hull-exact"

    def select(self, pool: Pool, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns min(count, len(pool)) indices, ascending."""
        count = checked_count(pool, count)
        if count in (0, len(pool)):
            return np.arange(count, dtype=np.int64)
        if count_balanced(pool.groups, count) <= self.enumerate_limit:
            scorer = PoolScorer(pool.latents, pool.groups, pool.spread)
            return _best(scorer, enumerate_balanced(pool.groups, count))[0]
        return _search(pool, count, rng, constrained=True)


@dataclass(frozen=True)
class HullSearch:
    """ER-Hull's score without the balance over timestamps: local search over all subsets of that size."""

    name: str = "hull-search"

    def select(self, pool: Pool, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns min(count, len(pool)) indices, ascending."""
        count = checked_count(pool, count)
        if count in (0, len(pool)):
            return np.arange(count, dtype=np.int64)
        return _search(pool, count, rng, constrained=False)
