"""How far each code of a set lies from the convex hull of the others: what it adds to the set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError
from everface.engine.ops.hull.projection import project_to_hull


def distance_to_others(codes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distance [n] of each code to the convex hull of the other n - 1.

    Args:
        codes: [n, d], n at least 2.

    Raises:
        UsageError: fewer than two codes.
    """
    if codes.ndim != 2 or len(codes) < 2:
        raise UsageError("codes", expected="[n, d] with n >= 2", found=f"shape {codes.shape}")
    distances = [project_to_hull(codes[i : i + 1], np.delete(codes, i, axis=0)).distance[0] for i in range(len(codes))]
    return np.array(distances)
