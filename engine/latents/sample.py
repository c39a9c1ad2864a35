"""Sampling of the personal subspaces (MyStyle, Nitzan et al. 2022, section 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError

__all__ = ["sample_p0", "sample_p0_by_timestamp"]


def sample_p0(
    anchors: NDArray[np.floating], n: int, rng: np.random.Generator, *, simplex: int = 3
) -> NDArray[np.float32]:
    """Random convex combinations of a few anchors (P0): uniform weights, normalised to sum 1.

    Args:
        anchors: [a, d] W codes of a person's photos.
        n: how many samples.
        rng: source of randomness.
        simplex: anchors in one combination, fewer where there are fewer.

    Returns:
        [n, d] float32.

    Raises:
        UsageError: no anchors, or a negative count.
    """
    anchors = np.asarray(anchors, dtype=np.float64)
    if anchors.ndim != 2 or not len(anchors):
        raise UsageError("anchors", expected="at least one W code [a, d]", found=f"shape {anchors.shape}")
    if n < 0:
        raise UsageError("n", expected="0 or more", found=str(n))
    size = min(simplex, len(anchors))
    chosen = (
        np.stack([rng.choice(len(anchors), size, replace=False) for _ in range(n)]) if n else np.zeros((0, size), int)
    )
    weights = rng.random((n, size)) + 1e-12
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray(np.einsum("ns,nsd->nd", weights, anchors[chosen]), dtype=np.float32)


def sample_p0_by_timestamp(
    anchors: Sequence[NDArray[np.floating]], n: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """P0 samples, each within one timestamp's anchors: every look of the person gets its share.

    Timestamps with fewer than three anchors left are pooled, since one or two anchors give no variety.

    Args:
        anchors: per timestamp [a, d].
        n: how many samples, dealt to the timestamps in turn from a random one on.
        rng: source of randomness.

    Returns:
        [n, d] float32.
    """
    groups = [codes for codes in anchors if len(codes) >= 3]
    rest = [codes for codes in anchors if 0 < len(codes) < 3]
    if rest:
        groups.append(np.concatenate(rest))
    if not groups:
        raise UsageError("anchors", expected="at least one W code", found="none", remedy="update with photos first")
    first = int(rng.integers(len(groups)))
    return np.concatenate(
        [sample_p0(groups[(first + i) % len(groups)], 1, rng) for i in range(n)]
        or [np.zeros((0, groups[0].shape[1]), np.float32)]
    )
