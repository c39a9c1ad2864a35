"""`er-hull-volume`: the hull of largest volume, as the paper's project page words its selection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.ops.hull.scores import simplex_log_volumes
from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.candidates import CANDIDATE_LIMIT, candidates
from everface.engine.replay.policies.common import checked_count


@dataclass(frozen=True)
class ErHullVolume:
    """Of ER-Hull's candidates, the one whose simplex has the largest volume sqrt(det Gram).

    Attributes:
        limit: most candidates.
        name: the policy's name.
    """

    limit: int = CANDIDATE_LIMIT
    name: str = "er-hull-volume"

    def select(self, pool: Pool, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns min(count, len(pool)) indices, ascending."""
        count = checked_count(pool, count)
        if count in (0, len(pool)):
            return np.arange(count, dtype=np.int64)
        subsets = candidates(pool.groups, count, rng, self.limit)
        return np.asarray(subsets[int(simplex_log_volumes(pool.latents, subsets).argmax())], dtype=np.int64)
