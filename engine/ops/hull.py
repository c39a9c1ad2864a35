"""Hull geometry: which point of a convex hull is nearest, and how well a few latents cover many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError
from everface.engine.ops.hull_reference import hull_scores_reference

__all__ = ["hull_scores"]


def hull_scores(
    pool: NDArray[np.float64], groups: NDArray[np.int64], subsets: NDArray[np.int64], spread: NDArray[np.float64]
) -> NDArray[np.float64]:
    """ER-Hull's score of each candidate subset; lower is better (the paper's selection, as its authors' code runs it).

    The mean over timestamps of the mean distance of that timestamp's unselected latents to the hull of the subset. A
    timestamp that is selected entirely contributes the mean spread of its images.

    Args:
        pool: [n, d] latents.
        groups: [n] timestamps.
        subsets: [c, b] distinct pool indices in each row.
        spread: [n] mean distance of each item to its original batch-mates.

    Returns:
        [c] float64 scores, in the latents' units.

    Raises:
        UsageError: shapes that do not fit, indices outside the pool.
    """
    n = len(pool)
    if pool.ndim != 2 or groups.shape != (n,) or spread.shape != (n,):
        found = f"{pool.shape}, {groups.shape}, {spread.shape}"
        raise UsageError("hull_scores", expected="pool [n, d], groups [n], spread [n]", found=found)
    if subsets.ndim != 2 or (subsets.size and not 0 <= subsets.min() <= subsets.max() < n):
        raise UsageError("subsets", expected=f"indices [c, b] in 0..{n - 1}", found=f"shape {subsets.shape}")
    return hull_scores_reference(pool, groups, subsets, spread)
