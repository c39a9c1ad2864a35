"""What several policies need: the count's check and squared distances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError
from everface.engine.replay.policies.base import Pool


def checked_count(pool: Pool, count: int) -> int:
    """The number of items to keep: ``count``, or the whole pool where that is smaller.

    Raises:
        UsageError: a negative count.
    """
    if count < 0:
        raise UsageError("count", expected="0 or more", found=str(count), remedy="say how many photos to keep")
    return min(count, len(pool))


def squared_distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared Euclidean distances [n, m] of rows a [n, d] to rows b [m, d], never negative."""
    shift = b.mean(axis=0) if len(b) else 0.0
    a, b = a - shift, b - shift
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None] - 2.0 * (a @ b.T)
    return np.asarray(np.maximum(squares, 0.0), dtype=np.float64)
