"""`er-hull-exact` and `hull-search`: better optima of ER-Hull's score than the authors' random search finds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.ops.hull.scores import PoolScorer
from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.candidates import (
    CANDIDATE_LIMIT,
    balanced_blocks,
    candidates,
    count_balanced,
    draw,
)
from everface.engine.replay.policies.common import checked_count
from everface.engine.replay.policies.search import Balance, descend, guided_descent

SMALL_COUNT = 16  # subsets up to which affine hulls bound scores, so that all draws and all swaps are cheap
SMALL_POOL = 200
RESTARTS = 24


def _search(pool: Pool, count: int, rng: np.random.Generator, *, constrained: bool) -> NDArray[np.int64]:
    """Descends from the best of the authors' draws (few to keep) or of a few draws (many)."""
    scorer = PoolScorer(pool.latents, pool.groups, pool.spread)
    balance = Balance.of(pool.groups, count, constrained=constrained)
    if count <= SMALL_COUNT and len(pool) <= SMALL_POOL:
        rows = candidates(pool.groups, count, rng)
        best, score = scorer.best(rows)
        found, lower = descend(scorer, balance, rows[best], score)
        # The best draw may be a local optimum; another one's neighbourhood then leads lower.
        others = iter(np.array_split(rows, RESTARTS) if len(rows) >= CANDIDATE_LIMIT // 2 else [])
        while lower >= score and (part := next(others, None)) is not None:
            best, start = scorer.best(part)
            tried, reached = descend(scorer, balance, part[best], start)
            if reached < lower:
                found, lower = tried, reached
    else:
        rows = draw(pool.groups, count, 16, rng)
        best, score = scorer.best(rows)
        found, _ = guided_descent(scorer, balance, (rows[best], score), pool.latents, 1500)
    return np.sort(found)


def _optimum(pool: Pool, count: int) -> NDArray[np.int64]:
    scorer = PoolScorer(pool.latents, pool.groups, pool.spread)
    found, score = np.empty(0, dtype=np.int64), np.inf
    for rows in balanced_blocks(pool.groups, count):
        best, lower = scorer.best(rows, score)
        if best >= 0:
            found, score = rows[best], lower
    return found


@dataclass(frozen=True)
class ErHullExact:
    """The least ER-Hull score among the balanced subsets.

    All of them are considered where there are at most ``enumerate_limit``: then the answer is the optimum. Otherwise
    the best of the authors' 5000 draws is improved by swaps that keep the balance, so it is never worse than `er-hull`
    of the same seed. Large problems (more than 16 to keep, or more than 200 to choose from) start from 16 draws and
    try the swaps that bounds call promising.

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
            return _optimum(pool, count)
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
