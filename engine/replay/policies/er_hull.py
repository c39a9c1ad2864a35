"""`er-hull`: the paper's selection, the authors' random search over balanced subsets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.ops.hull.scores import PoolScorer
from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.candidates import CANDIDATE_LIMIT, candidates
from everface.engine.replay.policies.common import checked_count


@dataclass(frozen=True)
class ErHull:
    """ER-Hull: of up to ``limit`` candidate subsets, the one whose hull is nearest to the rest of the pool.

    Scores are exact: the authors fit PCA, run Qhull and minimise numerically for the same simplex distance.

    Attributes:
        limit: most candidates; the authors' 5000.
        name: the policy's name.
    """

    limit: int = CANDIDATE_LIMIT
    name: str = "er-hull"

    def select(self, pool: Pool, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns min(count, len(pool)) indices, ascending."""
        count = checked_count(pool, count)
        if count in (0, len(pool)):
            return np.arange(count, dtype=np.int64)
        subsets = candidates(pool.groups, count, rng, self.limit)
        best, _ = PoolScorer(pool.latents, pool.groups, pool.spread).best(subsets)
        return np.asarray(subsets[best], dtype=np.int64)
