"""`er-rand`: the paper's random replay, balanced over timestamps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.candidates import draw
from everface.engine.replay.policies.common import checked_count


@dataclass(frozen=True)
class ErRand:
    """ER-Rand: one random image of each of ``count`` timestamps, or round-robin over shuffled timestamps."""

    name: str = "er-rand"

    def select(self, pool: Pool, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns min(count, len(pool)) indices, ascending."""
        count = checked_count(pool, count)
        if count in (0, len(pool)):
            return np.arange(count, dtype=np.int64)
        return np.asarray(draw(pool.groups, count, 1, rng)[0], dtype=np.int64)
