"""P0 samples are convex combinations of few anchors."""

from __future__ import annotations

import numpy as np
import pytest

from everface.engine.errors import UsageError
from everface.engine.latents.sample import sample_p0, sample_p0_by_timestamp


def test_samples_are_convex_combinations_of_three() -> None:
    anchors = np.eye(7)
    samples = sample_p0(anchors, 200, np.random.default_rng(0))
    assert samples.shape == (200, 7)
    assert (samples >= 0).all()
    np.testing.assert_allclose(samples.sum(axis=1), 1, atol=1e-6)
    assert ((samples > 0).sum(axis=1) == 3).all()
    # Every anchor gets its share.
    assert (samples > 0).sum(axis=0).min() > 50


def test_few_anchors_are_enough() -> None:
    one = np.array([[1.0, 2.0]])
    np.testing.assert_allclose(sample_p0(one, 3, np.random.default_rng(0)), np.repeat(one, 3, axis=0))
    assert sample_p0(one, 0, np.random.default_rng(0)).shape == (0, 2)


def test_seed_decides() -> None:
    anchors = np.random.default_rng(1).normal(size=(9, 4))
    first, again = (sample_p0(anchors, 5, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, sample_p0(anchors, 5, np.random.default_rng(4)))


def test_timestamps_take_turns_and_small_ones_are_pooled() -> None:
    # Each timestamp has its own coordinate, so a sample shows where it came from.
    groups = [np.eye(4)[[i] * size] for i, size in enumerate((3, 5, 1, 2))]
    samples = sample_p0_by_timestamp(groups, 30, np.random.default_rng(0))
    assert np.isclose(samples[:, 0], 1).sum() == 10
    assert np.isclose(samples[:, 1], 1).sum() == 10
    pooled = samples[:, 2] + samples[:, 3]
    assert np.isclose(pooled, 1).sum() == 10


@pytest.mark.parametrize("anchors", [np.zeros((0, 3)), np.zeros(3)])
def test_no_anchors_is_an_error(anchors: np.ndarray) -> None:
    with pytest.raises(UsageError, match="anchors"):
        sample_p0(anchors, 1, np.random.default_rng(0))
    with pytest.raises(UsageError, match="anchors"):
        sample_p0_by_timestamp([], 1, np.random.default_rng(0))


def test_negative_count_is_an_error() -> None:
    with pytest.raises(UsageError, match="n: expected"):
        sample_p0(np.eye(3), -1, np.random.default_rng(0))
