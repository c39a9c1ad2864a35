"""`upper`: the paper's upper bound; the engine tunes the base anew on all that is kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.common import checked_count


@dataclass(frozen=True)
class Upper:
    """Keeps everything; where the store cannot, random images in all timestamps alike."""

    name: str = "upper"

    def select(self, pool: Pool, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns all indices, or a random choice of ``count`` where there are more."""
        return np.sort(rng.choice(len(pool), checked_count(pool, count), replace=False)).astype(np.int64)
