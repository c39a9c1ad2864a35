"""`forgotten`: keeps what the current model shows worst, evenly over the timestamps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.common import checked_count


@dataclass(frozen=True)
class Forgotten:
    """Round-robin over the timestamps, the most forgotten first; in each, the photo of the highest loss.

    Losses that were not measured count as the lowest.
    """

    name: str = "forgotten"

    def select(self, pool: Pool, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns min(count, len(pool)) indices, ascending."""
        count = checked_count(pool, count)
        loss = np.nan_to_num(pool.loss, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        tie = rng.permutation(len(pool))
        by_loss = np.lexsort((tie, -loss))
        turn = np.empty(len(pool), np.int64)
        for group in np.unique(pool.groups):
            mine = by_loss[pool.groups[by_loss] == group]
            turn[mine] = np.arange(len(mine))
        return np.sort(np.lexsort((tie, -loss, turn))[:count]).astype(np.int64)
