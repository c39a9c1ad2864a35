"""How well a few latents cover a pool: ER-Hull's score and simplex volumes, from one Gram matrix of the pool."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from everface import _native
from everface.engine.errors import UsageError
from everface.engine.ops.dispatch import choose, machine_obstacle
from everface.engine.ops.hull.reference import hull_scores_reference, simplex_volume_reference
from everface.engine.ops.hull.types import thread_count

__all__ = ["PoolScorer", "hull_scores", "simplex_log_volumes"]

MAX_POOL = 8192
MAX_CUDA_SUBSET = 16
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def _checked_pool(pool: object, groups: object, spread: object) -> tuple[Floats, Indices, Floats]:
    latents = np.ascontiguousarray(pool, dtype=np.float64)
    names, spreads = np.asarray(groups), np.ascontiguousarray(spread, dtype=np.float64)
    n = len(latents)
    if latents.ndim != 2 or names.shape != (n,) or spreads.shape != (n,):
        found = f"{latents.shape}, {names.shape}, {spreads.shape}"
        raise UsageError("hull_scores", expected="pool [n, d], groups [n], spread [n]", found=found)
    if not 1 <= n <= MAX_POOL:
        raise UsageError("pool", expected=f"1 to {MAX_POOL} items", found=str(n), remedy="score a part of the pool")
    if not np.isfinite(spreads).all():
        raise UsageError("spread", expected="finite numbers", found="NaN or infinity")
    return latents, names.astype(np.int64), spreads


def _compact(names: Indices) -> tuple[NDArray[np.int32], int]:
    """Timestamps as 0..T-1, and T."""
    different, group = np.unique(names, return_inverse=True)
    return group.astype(np.int32), len(different)


def _scores_cuda(  # pragma: no cover (a CUDA device)
    pool: object, groups: object, subsets: object, spread: object
) -> Floats:
    latents, names, spreads = _checked_pool(pool, groups, spread)
    rows = _checked_subsets(subsets, len(latents), 1)
    if rows.shape[1] > MAX_CUDA_SUBSET:
        found, remedy = f"{rows.shape[1]}", "use impl='cpu'"
        raise UsageError("subsets on CUDA", expected=f"at most {MAX_CUDA_SUBSET} items", found=found, remedy=remedy)
    group, count = _compact(names)
    try:
        return _native.hull_scores_cuda(latents, group, count, spreads, rows)
    except ValueError as error:  # all else has been checked
        raise _not_finite() from error


def _not_finite() -> UsageError:
    return UsageError("pool", expected="finite numbers", found="NaN, infinity or overflow")


def _checked_subsets(subsets: object, n: int, least: int) -> Indices:
    rows = np.ascontiguousarray(subsets, dtype=np.int64)
    if rows.ndim != 2 or rows.shape[1] < least:
        raise UsageError("subsets", expected=f"indices [c, b], b at least {least}", found=f"shape {rows.shape}")
    if rows.size and not 0 <= rows.min() <= rows.max() < n:
        raise UsageError("subsets", expected=f"indices in 0..{n - 1}", found=f"{rows.min()}..{rows.max()}")
    ordered = np.sort(rows, axis=1)
    if (ordered[:, 1:] == ordered[:, :-1]).any():
        raise UsageError("subsets", expected="distinct indices in each row", found="a repeated one")
    return rows


class PoolScorer:
    """A pool prepared once for the scores of many candidate subsets.

    Args:
        pool: [n, d] latents, n up to 8192.
        groups: [n] timestamps.
        spread: [n] mean distance of each item to its original batch-mates.
        threads: CPU threads; 0 takes all that this process may use.

    Raises:
        UsageError: shapes that do not fit; NaN or infinity.
    """

    def __init__(self, pool: object, groups: object, spread: object, threads: int = 0) -> None:
        latents, names, spreads = _checked_pool(pool, groups, spread)
        group, count = _compact(names)
        self.size = len(latents)
        self._threads = thread_count(threads)
        try:
            self._native = _native.HullPool(latents, group, count, spreads, self._threads)
        except ValueError as error:  # all else has been checked
            raise _not_finite() from error

    def scores(self, subsets: object) -> Floats:
        """ER-Hull's score of each subset [c, b]; lower is better."""
        return self._native.scores(_checked_subsets(subsets, self.size, 1), self._threads)

    def best(self, subsets: object, bound: float = np.inf) -> tuple[int, float]:
        """The row of least score below ``bound`` (the first of equals) and that score; row -1 where none is below.

        Faster than ``scores``: distances to affine hulls bound most subsets out.
        """
        return self._native.best(_checked_subsets(subsets, self.size, 1), float(bound), self._threads)

    def log_volumes(self, subsets: object) -> Floats:
        """Logarithm of the volume spanned by each subset's edges (up to a constant factor), -inf where it is flat."""
        return self._native.log_volumes(_checked_subsets(subsets, self.size, 1), self._threads)

    def distances(self, subset: object) -> tuple[Floats, Floats]:
        """Distance [n] of every item to the hull of one subset [b], and the weights [n, b] of the nearest points."""
        row = np.asarray(subset, dtype=np.int64)[None]
        return self._native.distances(_checked_subsets(row, self.size, 1), self._threads)


def hull_scores(
    pool: object, groups: object, subsets: object, spread: object, *, impl: str = "auto", threads: int = 0
) -> Floats:
    """ER-Hull's score of each candidate subset; lower is better (the paper's selection, as its authors' code runs it).

    The mean over timestamps of the mean distance of that timestamp's unselected latents to the hull of the subset. A
    timestamp that is selected entirely contributes the mean spread of its images.

    Args:
        pool: [n, d] latents.
        groups: [n] timestamps.
        subsets: [c, b] distinct pool indices in each row.
        spread: [n] mean distance of each item to its original batch-mates.
        impl: ``"auto"``, ``"reference"``, ``"cpu"`` or ``"cuda"`` (subsets of at most 16); a named one never falls back
            to another.
        threads: CPU threads; 0 takes all that this process may use.

    Returns:
        [c] float64 scores, in the latents' units.

    Raises:
        UsageError: shapes that do not fit, indices outside the pool or repeated.
        MissingBackendError: ``impl="cuda"`` without a CUDA device.
    """
    chosen = choose("hull_scores", impl, "cpu")
    if chosen == "reference":
        latents, names, spreads = _checked_pool(pool, groups, spread)
        if not np.isfinite(latents).all():
            raise _not_finite()
        return hull_scores_reference(latents, names, _checked_subsets(subsets, len(latents), 1), spreads)
    if chosen == "cuda":
        return _scores_cuda(pool, groups, subsets, spread)
    return PoolScorer(pool, groups, spread, threads).scores(subsets)


def _volume_obstacle(impl: str) -> str:
    return "no kernel for it" if impl == "cuda" else machine_obstacle(impl)


def simplex_log_volumes(pool: object, subsets: object, *, impl: str = "auto") -> Floats:
    """log sqrt(det Gram) of the edges of each subset's simplex, [c]; (b - 1)! times its volume, in the latents' units.

    Raises:
        UsageError: shapes that do not fit, indices outside the pool or repeated.
    """
    n = len(np.asarray(pool))
    zeros = np.zeros(n)
    if choose("simplex_log_volumes", impl, "cpu", _volume_obstacle) == "reference":
        latents, _, _ = _checked_pool(pool, zeros, zeros)
        if not np.isfinite(latents).all():
            raise _not_finite()
        return simplex_volume_reference(latents, _checked_subsets(subsets, n, 1))
    return PoolScorer(pool, zeros, zeros).log_volumes(subsets)
