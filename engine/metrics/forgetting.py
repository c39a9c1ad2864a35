"""What a model sequence forgets: AP, AIP and Forgetting of the paper's evaluation (arXiv 2412.02627)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from everface.engine.errors import UsageError

__all__ = ["ForgettingSummary", "average_performance", "forgetting", "forgetting_summary", "incremental_performance"]

_REMEDY = "pass [T, T] with row t = model after timestamp t, column k = test set of timestamp k"


@dataclass(frozen=True)
class ForgettingSummary:
    """The paper's numbers for one matrix.

    Attributes:
        average_performance: AP_t for t = 0..T-1, in the metric's unit.
        incremental_performance: AIP, in the metric's unit.
        forgetting: in the metric's unit, positive when the last model is worse; NaN with one timestamp.
        higher_is_better: sign of the metric.
    """

    average_performance: tuple[float, ...]
    incremental_performance: float
    forgetting: float
    higher_is_better: bool


def average_performance(matrix: ArrayLike) -> NDArray[np.float64]:
    """AP_t = mean over k <= t of M[t, k]: how model t does on all test sets so far.

    Args:
        matrix: [T, T], metric of model t on test set k for k <= t. What lies above the diagonal is not read. A test
            set that nobody measured (its whole column is NaN) is left out.

    Returns:
        [T]; NaN where no test set was measured yet.

    Raises:
        UsageError: not square, not numbers, or a test set measured by some models only.
    """
    m = _checked(matrix)
    return np.array([_mean(m[t, : t + 1]) for t in range(len(m))])


def incremental_performance(matrix: ArrayLike) -> float:
    """AIP = mean over t of AP_t. Arguments and errors as ``average_performance``."""
    return _mean(average_performance(matrix))


def forgetting(matrix: ArrayLike, *, higher_is_better: bool) -> float:
    """Mean over k = 0..T-2 of max over l in [k, T-2] of how much worse model T-1 is than model l on test set k.

    Args:
        matrix: as in ``average_performance``.
        higher_is_better: True for similarities (cosine, PSNR), False for distances.

    Returns:
        In the metric's unit; positive is forgetting, negative means that later training helped. NaN with fewer than
        two timestamps, where nothing can be forgotten.

    Raises:
        UsageError: as in ``average_performance``.
    """
    m = _checked(matrix)
    last = len(m) - 1
    worse = (m - m[last]) if higher_is_better else (m[last] - m)
    return _mean(np.array([worse[k:last, k].max() for k in range(last)]))


def forgetting_summary(matrix: ArrayLike, *, higher_is_better: bool) -> ForgettingSummary:
    """All three at once. Arguments and errors as ``forgetting``."""
    ap = average_performance(matrix)
    return ForgettingSummary(
        average_performance=tuple(float(value) for value in ap),
        incremental_performance=_mean(ap),
        forgetting=forgetting(matrix, higher_is_better=higher_is_better),
        higher_is_better=higher_is_better,
    )


def _checked(matrix: ArrayLike) -> NDArray[np.float64]:
    """A float64 copy with NaN above the diagonal."""
    try:
        m = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError("matrix", expected="a square array of numbers", found=str(error), remedy=_REMEDY) from error
    if m.ndim != 2 or m.shape[0] != m.shape[1] or m.shape[0] == 0:
        raise UsageError("matrix", expected="a square array [T, T]", found=f"shape {m.shape}", remedy=_REMEDY)
    m[np.triu_indices(len(m), 1)] = np.nan
    for k in range(len(m)):
        column = m[k:, k]
        missing = np.isnan(column)
        if np.isinf(column).any():
            raise UsageError(f"matrix column {k}", expected="finite numbers", found="infinity", remedy=_REMEDY)
        if missing.any() and not missing.all():
            t = k + int(np.flatnonzero(missing)[0])
            expected = f"every model from {k} on measured on test set {k}, or none"
            remedy = "measure the missing pairs, or set the whole column to NaN to leave that test set out"
            raise UsageError(f"matrix[{t}, {k}]", expected=expected, found="NaN", remedy=remedy)
    return m


def _mean(values: NDArray[np.float64]) -> float:
    """Mean of what is not NaN; NaN for nothing."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
