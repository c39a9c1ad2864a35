"""`kmeans`: the paper's clustering baseline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.common import checked_count, squared_distances


def _plus_plus(points: NDArray[np.float64], k: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """k-means++ seeding (Arthur and Vassilvitskii, 2007)."""
    chosen = [int(rng.integers(len(points)))]
    nearest = squared_distances(points, points[chosen])[:, 0]
    while len(chosen) < k:
        total = nearest.sum()
        p = nearest / total if total > 0 else None
        chosen.append(int(rng.choice(len(points), p=p)))
        nearest = np.minimum(nearest, squared_distances(points, points[chosen[-1:]])[:, 0])
    return points[chosen]


def _lloyd(points: NDArray[np.float64], centres: NDArray[np.float64], rounds: int) -> tuple[NDArray[np.float64], float]:
    """Lloyd's iterations; returns the centres and the within-cluster sum of squares."""
    owner = np.full(len(points), -1)
    for _ in range(rounds):
        squares = squared_distances(points, centres)
        nearest = squares.argmin(axis=1)
        if (nearest == owner).all():
            break
        owner = nearest
        centres = np.stack(
            [points[owner == c].mean(axis=0) if (owner == c).any() else centres[c] for c in range(len(centres))]
        )
    return centres, float(squared_distances(points, centres).min(axis=1).sum())


@dataclass(frozen=True)
class KMeans:
    """``count`` clusters in latent space, and the pool item nearest to each centre.

    Attributes:
        restarts: seedings, of which the tightest clustering is kept.
        rounds: Lloyd iterations at the most.
        name: the policy's name.
    """

    restarts: int = 10
    rounds: int = 300
    name: str = "kmeans"

    def select(self, pool: Pool, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns min(count, len(pool)) indices, ascending."""
        count = checked_count(pool, count)
        if count in (0, len(pool)):
            return np.arange(count, dtype=np.int64)
        points = pool.latents
        tries = [_lloyd(points, _plus_plus(points, count, rng), self.rounds) for _ in range(self.restarts)]
        centres, _ = min(tries, key=lambda result: result[1])
        distance = squared_distances(centres, points)
        chosen: list[int] = []
        for row in distance:
            # Two centres may share their nearest item; the second takes the next one.
            row[chosen] = np.inf
            chosen.append(int(row.argmin()))
        return np.array(sorted(chosen), dtype=np.int64)
