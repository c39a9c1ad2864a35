"""`reservoir`: every photo ever seen is kept with the same probability (Vitter's algorithm R, 1985)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.common import checked_count


@dataclass(frozen=True)
class Reservoir:
    """Reservoir sampling over the stream of photos.

    A pool does not tell how many photos came before it. Earlier batches are taken to be as large as the newest one,
    and timestamps to count from 0.
    """

    name: str = "reservoir"

    def select(self, pool: Pool, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns min(count, len(pool)) indices, ascending."""
        count = checked_count(pool, count)
        if count in (0, len(pool)):
            return np.arange(count, dtype=np.int64)
        newest = int(pool.groups.max())
        old = np.flatnonzero(pool.groups != newest)
        new = rng.permutation(np.flatnonzero(pool.groups == newest))
        seen = max(len(old), newest * len(new))
        kept = [int(i) for i in (old if len(old) <= count else rng.choice(old, count, replace=False))]
        for item in new:
            seen += 1
            if len(kept) < count:
                kept.append(int(item))
            elif (slot := int(rng.integers(seen))) < count:
                kept[slot] = int(item)
        return np.array(sorted(kept), dtype=np.int64)
