"""Local search for a subset of least ER-Hull score: swaps of one image for another, from one or more starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.ops.hull.scores import PoolScorer

Indices = NDArray[np.int64]
FULL_NEIGHBOURHOOD = 4000  # swaps scored at once at the most


@dataclass(frozen=True)
class Balance:
    """Which swaps keep a subset balanced over the timestamps, as round-robin would leave it.

    Attributes:
        group: [n] timestamps as 0..T-1.
        low: [T] the fewest images of each.
        high: [T] the most.
    """

    group: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]

    @classmethod
    def of(cls, groups: NDArray[np.int64], count: int, *, constrained: bool) -> Balance:
        """The balanced subsets of that many images, or with ``constrained=False`` all subsets."""
        _, group = np.unique(groups, return_inverse=True)
        sizes = np.bincount(group)
        if not constrained:
            return cls(group, np.zeros_like(sizes), sizes)
        level = 0
        while np.minimum(sizes, level + 1).sum() <= count and level < sizes.max():
            level += 1
        return cls(group, np.minimum(sizes, level), np.minimum(sizes, level + 1))

    def swaps(self, subset: Indices) -> Indices:
        """All allowed (position to leave, item to enter) pairs, [s, 2]."""
        counts = np.bincount(self.group[subset], minlength=len(self.low))
        outside = np.setdiff1d(np.arange(len(self.group)), subset)
        leave, enter = self.group[subset][:, None], self.group[outside][None, :]
        ok = (leave == enter) | ((counts[leave] > self.low[leave]) & (counts[enter] < self.high[enter]))
        position, item = np.nonzero(ok)
        return np.stack([position, outside[item]], axis=1)


def _swapped(subset: Indices, swaps: Indices) -> Indices:
    rows = np.repeat(subset[None], len(swaps), axis=0)
    rows[np.arange(len(swaps)), swaps[:, 0]] = swaps[:, 1]
    return rows


def descend(scorer: PoolScorer, balance: Balance, subset: Indices, score: float) -> tuple[Indices, float]:
    """Takes the best of all swaps until none lowers the score."""
    while True:
        swaps = balance.swaps(subset)
        if not len(swaps):
            return subset, score
        rows = _swapped(subset, swaps)
        best, lower = scorer.best(rows, score)
        if best < 0:
            return subset, score
        subset, score = rows[best], lower


def _weights_of_items(balance: Balance, subset: Indices) -> NDArray[np.float64]:
    """What each unselected item counts in the score: one over its timestamp's unselected items, over the timestamps."""
    open_items = np.ones(len(balance.group), dtype=bool)
    open_items[subset] = False
    left = np.bincount(balance.group[open_items], minlength=len(balance.low))
    return np.where(open_items, 1.0 / np.maximum(left, 1)[balance.group] / len(balance.low), 0.0)


def _promising(scorer: PoolScorer, balance: Balance, gram: NDArray[np.float64], subset: Indices, most: int) -> Indices:
    """The swaps that look best by bounds from the present nearest points.

    An item v that enters brings each p at least to the segment from p's nearest point x to v. An image that leaves
    hurts those that lean on it: at worst they fall back to x without its share.
    """
    distance, weight = scorer.distances(subset)
    share = _weights_of_items(balance, subset)
    to_all = weight @ gram[subset]  # x_p . v
    x_norm = np.einsum("pb,pb->p", to_all[:, subset], weight)
    own = np.diagonal(gram)
    along = gram - to_all - np.einsum("pn,pn->p", weight, gram[:, subset])[:, None] + x_norm[:, None]
    length = own[None] - 2 * to_all + x_norm[:, None]
    step = np.clip(along / np.maximum(length, 1e-300), 0.0, 1.0)
    reached = np.sqrt(np.maximum(distance[:, None] ** 2 - 2 * step * along + step**2 * length, 0.0))
    gain = share @ (distance[:, None] - reached) + share * distance
    pull = np.sqrt(np.maximum(own[subset][None] - 2 * to_all[:, subset] + x_norm[:, None], 0.0))
    loss = share @ (weight * pull)
    swaps = balance.swaps(subset)
    worth = gain[swaps[:, 1]] - 0.5 * loss[swaps[:, 0]]
    return swaps[np.argsort(-worth, kind="stable")[:most]]


def guided_descent(
    scorer: PoolScorer, balance: Balance, start: tuple[Indices, float], latents: NDArray[np.float64], evaluations: int
) -> tuple[Indices, float]:
    """As ``descend`` for large pools: scores only the swaps that look best, until the evaluations are spent."""
    subset, score = start
    if len(balance.swaps(subset)) <= FULL_NEIGHBOURHOOD // 4:
        return descend(scorer, balance, subset, score)
    centred = latents - latents.mean(axis=0)
    gram = centred @ centred.T
    batch = 8
    while evaluations > 0:
        rows = _swapped(subset, _promising(scorer, balance, gram, subset, batch))
        evaluations -= len(rows)
        best, lower = scorer.best(rows, score)
        if best >= 0:
            subset, score = rows[best], lower
        elif batch >= 64:
            break
        else:
            batch *= 2
    return subset, score
