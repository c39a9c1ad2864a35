"""`k-center`: greedy farthest point (Gonzalez, 1985; Sener and Savarese, ICLR 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.common import checked_count, squared_distances


@dataclass(frozen=True)
class KCenter:
    """Starts at the item nearest to the pool's mean and always adds the one farthest from all chosen."""

    name: str = "k-center"

    def select(self, pool: Pool, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns min(count, len(pool)) indices, ascending; the generator is not used."""
        count = checked_count(pool, count)
        if count == 0:
            return np.empty(0, dtype=np.int64)
        latents = pool.latents
        chosen = [int(squared_distances(latents, latents.mean(axis=0, keepdims=True))[:, 0].argmin())]
        nearest = squared_distances(latents, latents[chosen])[:, 0]
        while len(chosen) < count:
            # Chosen items are out even where duplicates leave nothing but zero distances.
            nearest[chosen] = -1.0
            chosen.append(int(nearest.argmax()))
            nearest = np.minimum(nearest, squared_distances(latents, latents[chosen[-1:]])[:, 0])
        return np.array(sorted(chosen), dtype=np.int64)
