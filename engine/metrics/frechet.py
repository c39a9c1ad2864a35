"""Frechet distance of two sets of features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError


def frechet_distance(features_a: NDArray[np.floating], features_b: NDArray[np.floating]) -> float:
    """Frechet distance of the normal distributions fitted to two sets (Heusel et al., NeurIPS 2017, equation 6).

    ``|m_a - m_b|^2 + trace(C_a + C_b - 2 (C_a C_b)^(1/2))``. What it means depends on the features: name them. It falls
    as the sets grow, so compare sets of equal size only.

    Args:
        features_a: [n, d], n at least 2.
        features_b: [m, d], m at least 2.

    Returns:
        At least 0, in squared units of the features.

    Raises:
        UsageError: not such arrays, or not finite.
    """
    a, b = np.asarray(features_a, np.float64), np.asarray(features_b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1:] != b.shape[1:] or min(len(a), len(b)) < 2:
        raise UsageError("features", expected="[n, d] and [m, d], two rows or more", found=f"{a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise UsageError("features", expected="finite numbers", found="NaN or infinity")
    # With the centred rows X, C = X'X / (n - 1), and trace((C_a C_b)^(1/2)) is the nuclear norm of X_a X_b' / sqrt(..):
    # exact for sets smaller than d too, where C is singular.
    x, y = (v - v.mean(axis=0) for v in (a, b))
    n, m = len(a) - 1, len(b) - 1
    cross = float(np.linalg.svd(x @ y.T, compute_uv=False).sum()) / np.sqrt(n * m)
    spread = float(np.square(x).sum()) / n + float(np.square(y).sum()) / m
    shift = float(np.square(a.mean(axis=0) - b.mean(axis=0)).sum())
    return float(max(0.0, shift + spread - 2 * cross))
