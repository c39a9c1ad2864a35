"""The spread of a batch, measured at capture because the batch is gone later (ER-Hull's score needs it)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError


def spread_of(latents_batch: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean Euclidean distance of each latent to the other latents of its batch.

    Args:
        latents_batch: [n, d], one batch as captured (3D: mirrored images included).

    Returns:
        [n] float64, in the latents' own units; 0 for a batch of one.

    Raises:
        UsageError: not an [n, d] array of finite numbers.
    """
    latents = np.asarray(latents_batch, dtype=np.float64)
    if latents.ndim != 2:
        raise UsageError("latents_batch", expected="an array [n, d]", found=f"shape {latents.shape}")
    if not np.isfinite(latents).all():
        raise UsageError("latents_batch", expected="finite numbers", found="NaN or infinity")
    n = len(latents)
    if n < 2:
        return np.zeros(n)
    distances = np.stack([np.linalg.norm(latents - row, axis=1) for row in latents])
    return np.asarray(distances.sum(axis=1) / (n - 1), dtype=np.float64)
