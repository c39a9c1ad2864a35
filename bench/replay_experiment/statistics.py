"""Means with intervals over people and seeds, and paired tests between methods."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Key = tuple[str, int]
"""Person and seed."""
_EXACT = 16  # sign flips of up to so many people are all tried
_DRAWS = 20_000


@dataclass(frozen=True)
class Interval:
    """A mean over people and its 95 % interval (Student's t); NaN bounds with one person.

    Attributes:
        mean: over people of their means over seeds.
        low, high: of the interval.
        people: how many.
        runs: person-seed pairs.
    """

    mean: float
    low: float
    high: float
    people: int
    runs: int

    @property
    def half(self) -> float:
        """Half the width."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Paired:
    """Differences of one method to another on the same timelines.

    Attributes:
        difference: mean over people, its 95 % interval with it.
        p_t: two-sided paired t-test over people; NaN with one person.
        p_flip: two-sided sign-flip permutation test over person-seed pairs: makes no assumption on the distribution,
            but cannot be smaller than 2 / 2^n.
        better: pairs in which the first method has the lower value.
    """

    difference: Interval
    p_t: float
    p_flip: float
    better: int


def interval_of(values: Mapping[Key, float]) -> Interval:
    """Of one method's values; a person's seeds are averaged first, since they share the photos."""
    means = _by_person(values)
    mean, count = float(means.mean()), len(means)
    half = float("nan")
    if count > 1:
        half = float(stats.t.ppf(0.975, count - 1) * means.std(ddof=1) / np.sqrt(count))
    return Interval(mean, mean - half, mean + half, count, len(values))


def paired_test(ours: Mapping[Key, float], theirs: Mapping[Key, float]) -> Paired | None:
    """Ours minus theirs where both were measured; None where nothing was."""
    both = {key: ours[key] - theirs[key] for key in ours if key in theirs}
    if not both:
        return None
    difference, means = interval_of(both), _by_person(both)
    varied = len(means) > 1 and bool(np.ptp(means))
    p_t = float(stats.ttest_1samp(means, 0.0).pvalue) if varied else float("nan")
    runs = np.array(list(both.values()))
    return Paired(difference, p_t, _flipped(runs), int((runs < 0).sum()))


def _by_person(values: Mapping[Key, float]) -> NDArray[np.float64]:
    people = sorted({person for person, _ in values})
    return np.array([np.mean([value for (who, _), value in values.items() if who == person]) for person in people])


def _flipped(differences: NDArray[np.float64]) -> float:
    count = len(differences)
    if count <= _EXACT:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=count)))
    else:
        signs = np.random.default_rng(0).choice((-1.0, 1.0), (_DRAWS, count))
    reached = np.abs(signs @ differences) >= abs(differences.sum()) * (1 - 1e-12)
    return float(reached.mean())
