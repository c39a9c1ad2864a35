"""`lower`: the paper's lower bound, no replay at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.common import checked_count


@dataclass(frozen=True)
class Lower:
    """Keeps nothing: naive sequential fine-tuning."""

    name: str = "lower"

    def select(self, pool: Pool, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns no indices, whatever the count."""
        checked_count(pool, count)
        return np.empty(0, dtype=np.int64)
