"""`herding`: iCaRL's exemplars (Rebuffi et al., CVPR 2017, algorithm 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.common import checked_count


@dataclass(frozen=True)
class Herding:
    """Takes, one after another, the item that brings the mean of the chosen nearest to the mean of the pool."""

    name: str = "herding"

    def select(self, pool: Pool, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns min(count, len(pool)) indices, ascending; the generator is not used."""
        count = checked_count(pool, count)
        if count == 0:
            return np.empty(0, dtype=np.int64)
        centred = pool.latents - pool.latents.mean(axis=0)
        total = np.zeros(centred.shape[1])
        chosen: list[int] = []
        for _ in range(count):
            distance = np.linalg.norm(centred + total, axis=1)
            distance[chosen] = np.inf
            chosen.append(int(distance.argmin()))
            total += centred[chosen[-1]]
        return np.array(sorted(chosen), dtype=np.int64)
