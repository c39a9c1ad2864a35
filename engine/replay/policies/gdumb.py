"""`gdumb`: the greedy balanced sampler of GDumb (Prabhu, Torr, Dokania, ECCV 2020), timestamps as classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.common import checked_count


@dataclass(frozen=True)
class GDumb:
    """Streams the pool, oldest timestamp first; a full buffer gives up a random image of its largest timestamp."""

    name: str = "gdumb"

    def select(self, pool: Pool, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns min(count, len(pool)) indices, ascending."""
        count = checked_count(pool, count)
        if count in (0, len(pool)):
            return np.arange(count, dtype=np.int64)
        kept: list[int] = []
        for item in np.argsort(pool.groups, kind="stable"):
            if len(kept) < count:
                kept.append(int(item))
                continue
            names, sizes = np.unique(pool.groups[kept], return_counts=True)
            own = int(sizes[names == pool.groups[item]].sum())
            if own < sizes.max():
                largest = rng.choice(names[sizes == sizes.max()])
                slots = [i for i, index in enumerate(kept) if pool.groups[index] == largest]
                kept[int(rng.choice(slots))] = int(item)
        return np.array(sorted(kept), dtype=np.int64)
