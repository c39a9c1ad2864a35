"""Frechet distance against its formula with matrix square roots."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from everface.engine.errors import UsageError
from everface.engine.metrics.frechet import frechet_distance


def test_agrees_with_the_formula() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(60, 8)) @ rng.normal(size=(8, 8)), rng.normal(size=(50, 8)) + 0.5
    ca, cb = np.cov(a.T), np.cov(b.T)
    want = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(ca + cb - 2 * sqrtm(ca @ cb).real)
    assert frechet_distance(a, b) == pytest.approx(want, rel=1e-9)


def test_equal_sets_and_few_samples() -> None:
    a = np.random.default_rng(1).normal(size=(5, 40))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + 2) == pytest.approx(160)


@pytest.mark.parametrize("bad", [np.zeros((1, 3)), np.zeros((4, 2)), np.full((4, 3), np.nan), np.zeros(3)])
def test_bad_features(bad: np.ndarray) -> None:
    with pytest.raises(UsageError):
        frechet_distance(np.zeros((4, 3)), bad)
