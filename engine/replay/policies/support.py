"""`support`: greedy selection by the mean support function, with a (1 - 1/e) guarantee."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.common import checked_count


def pool_heights(latents: NDArray[np.float64], directions: int, seed: int) -> NDArray[np.float64]:
    """Heights <u, s> of each item s over the lowest one in each of many Gaussian directions u, [n, directions].

    Directions matter only through the span of the pool: heights of Gaussian directions are Gaussian with the pool's
    Gram matrix as covariance, so they are drawn from its square root in n, not d, dimensions.
    """
    centred = latents - latents.mean(axis=0)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    normal = np.random.default_rng(seed).standard_normal((len(latents), directions))
    heights = root @ normal
    return np.asarray(heights - heights.min(axis=0), dtype=np.float64)


@dataclass(frozen=True)
class Support:
    """Adds, one after another, the item that raises f(S) = mean_u max_{s in S} <u, s> most.

    f is monotone submodular, so the greedy set has at least 1 - 1/e of the best possible value (Nemhauser, Wolsey,
    Fisher, 1978), in full dimension. Heights are measured from the lowest item, which makes f(empty set) = 0.

    Attributes:
        directions: Gaussian directions u.
        seed: of the directions, which are the same for every call.
        name: the policy's name.
    """

    directions: int = 1024
    seed: int = 0
    name: str = "support"

    def select(self, pool: Pool, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns min(count, len(pool)) indices, ascending; the generator is not used."""
        count = checked_count(pool, count)
        if count == 0:
            return np.empty(0, dtype=np.int64)
        heights = pool_heights(pool.latents, self.directions, self.seed)
        reached = np.zeros(self.directions)
        chosen: list[int] = []
        for _ in range(count):
            gain = np.maximum(heights - reached, 0.0).sum(axis=1)
            gain[chosen] = -1.0
            chosen.append(int(gain.argmax()))
            reached = np.maximum(reached, heights[chosen[-1]])
        return np.array(sorted(chosen), dtype=np.int64)
