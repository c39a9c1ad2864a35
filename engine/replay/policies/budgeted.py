"""`budgeted`: the hull objective under a budget of bytes instead of a count.

The mean support function of a subset, f(S) = mean over directions u of max over s in S of <u, s>, is monotone and
submodular, so greedy selection under a knapsack constraint carries a bound: the better of greedy by gain and greedy by
gain per byte reaches (1 - 1/e) / 2 of the optimum (Leskovec et al., KDD 2007, section 3.2). Of the two results the one
with the lower ER-Hull score is kept: the mean distance of what is lost to the hull of what stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.ops.hull.scores import hull_scores
from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.common import checked_count

# Above this many candidates the exact score takes longer than it is worth and the support function decides.
_SCORED = 256


@dataclass(frozen=True)
class Budgeted:
    """Greedy knapsack on the support function.

    Attributes:
        directions: how many random directions the support function is averaged over.
        name: the policy's name.
    """

    directions: int = 512
    name: str = "budgeted"

    def select(self, pool: Pool, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns min(count, len(pool)) indices, ascending: every memory weighs the same."""
        count = checked_count(pool, count)
        support = self._support(pool, rng)
        return np.sort(_greedy(support, np.ones(len(pool), np.int64), count, per_byte=False))

    def select_bytes(
        self, pool: Pool, room_bytes: int, rng: np.random.Generator, max_count: int | None = None
    ) -> NDArray[np.int64]:
        """Returns indices, ascending, whose bytes sum to at most ``room_bytes``; at most ``max_count`` of them."""
        most = checked_count(pool, len(pool) if max_count is None else max_count)
        support = self._support(pool, rng)
        choices = [np.sort(_greedy(support, pool.bytes, room_bytes, most, per_byte=choice)) for choice in (False, True)]
        if np.array_equal(choices[0], choices[1]) or not len(choices[0]):
            return choices[0]
        if len(pool) <= _SCORED:
            scores = [_score(pool, choice) for choice in choices]
        else:
            scores = [-float(support[:, choice].max(axis=1).mean()) for choice in choices]
        return choices[int(np.argmin(scores))]

    def _support(self, pool: Pool, rng: np.random.Generator) -> NDArray[np.float64]:
        """[directions, n] products with random unit vectors, measured from the pool's mean."""
        units = rng.normal(size=(self.directions, pool.latents.shape[1]))
        units /= np.linalg.norm(units, axis=1, keepdims=True)
        centre = pool.latents.mean(axis=0) if len(pool) else 0.0
        return np.asarray(units @ (pool.latents - centre).T, dtype=np.float64)


def _greedy(
    support: NDArray[np.float64], costs: NDArray[np.int64], room: int, most: int | None = None, *, per_byte: bool
) -> NDArray[np.int64]:
    """Adds the item that gains most, or most per byte, while one fits."""
    n = support.shape[1]
    # The empty set's support is the centre's, so that every item starts with a gain that is not negative.
    reached = np.zeros(support.shape[0])
    chosen: list[int] = []
    free = np.ones(n, dtype=bool)
    weights = costs.astype(np.float64) if per_byte else np.ones(n)
    while most is None or len(chosen) < most:
        fits = np.flatnonzero(free & (costs <= room))
        if not len(fits):
            break
        gains = np.maximum(support[:, fits] - reached[:, None], 0.0).mean(axis=0) / weights[fits]
        best = int(fits[int(np.argmax(gains))])
        chosen.append(best)
        free[best] = False
        room -= int(costs[best])
        reached = np.maximum(reached, support[:, best])
    return np.array(chosen, dtype=np.int64)


def _score(pool: Pool, chosen: NDArray[np.int64]) -> float:
    return float(hull_scores(pool.latents, pool.groups, chosen[None], pool.spread)[0])
