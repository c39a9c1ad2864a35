"""Means with intervals over people and seeds, and paired tests between methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Key = tuple[str, int]
"""Person and seed."""
_DRAWS = 2**16
"""Sign flips of up to 16 runs are all tried, of more so many at random."""


@dataclass(frozen=True)
class Interval:
    """A mean over people of their means over seeds, half the width of its 95 % interval (Student's t; NaN with one
    person), how many people, and how many person-seed pairs."""

    mean: float
    half: float
    people: int
    runs: int


@dataclass(frozen=True)
class Paired:
    """Differences of one method to another on the same timelines.

    Attributes:
        difference: mean over people, its 95 % interval with it.
        p_t: two-sided paired t-test over people; NaN with one person.
        p_flip: two-sided sign-flip permutation test over person-seed pairs: makes no assumption on the distribution,
            but cannot be smaller than 2 / 2^n.
    """

    difference: Interval
    p_t: float
    p_flip: float


def interval_of(values: Mapping[Key, float]) -> Interval:
    """Of one method's values; a person's seeds are averaged first, since they share the photos."""
    means = _by_person(values)
    half = float("nan")
    if len(means) > 1:
        half = float(stats.t.ppf(0.975, len(means) - 1) * stats.sem(means))
    return Interval(float(means.mean()), half, len(means), len(values))


def paired_test(ours: Mapping[Key, float], theirs: Mapping[Key, float]) -> Paired | None:
    """Ours minus theirs where both were measured; None where nothing was."""
    both = {key: ours[key] - theirs[key] for key in ours if key in theirs}
    if not both:
        return None
    means, runs = _by_person(both), np.array(list(both.values()))
    varied = len(means) > 1 and bool(np.ptp(means))
    p_t = float(stats.ttest_1samp(means, 0.0).pvalue) if varied else float("nan")
    return Paired(interval_of(both), p_t, _flipped(runs))


def _flipped(runs: NDArray[np.float64]) -> float:
    if len(runs) < 2:
        return 1.0

    def total(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        return np.asarray(values.sum(axis))

    rng = np.random.default_rng(0)
    test = stats.permutation_test((runs,), total, permutation_type="samples", n_resamples=_DRAWS, rng=rng)
    return float(test.pvalue)


def _by_person(values: Mapping[Key, float]) -> NDArray[np.float64]:
    people = sorted({person for person, _ in values})
    return np.array([np.mean([value for (who, _), value in values.items() if who == person]) for person in people])
