"""Directions change one thing, and belong to their base."""

from __future__ import annotations

import numpy as np
import pytest

from everface.engine.errors import CheckpointError, UsageError
from everface.engine.latents.directions import directions_from_bytes, directions_to_bytes, fit_direction


def test_a_direction_changes_its_quantity_by_one_and_leaves_the_other() -> None:
    rng = np.random.default_rng(2)
    codes = rng.normal(size=(2000, 16)) @ rng.normal(size=(16, 16))
    a, b = rng.normal(size=(2, 16))
    values, other = codes @ a, codes @ b
    found = fit_direction("x", "units", codes, values, beside=other[:, None], ridge=1e-6)
    assert found.step @ a == pytest.approx(1, abs=0.02)
    assert found.step @ b == pytest.approx(0, abs=0.02)
    assert found.correlation > 0.99


def test_directions_belong_to_their_base() -> None:
    rng = np.random.default_rng(3)
    codes = rng.normal(size=(100, 8))
    one = fit_direction("pose", "degrees", codes, codes[:, 0])
    data = directions_to_bytes([one], "a" * 64)
    (back,) = directions_from_bytes(data, "file", "a" * 64)
    assert (back.name, back.unit) == ("pose", "degrees")
    assert np.array_equal(back.step, one.step)
    with pytest.raises(CheckpointError, match="make_directions"):
        directions_from_bytes(data, "file", "b" * 64)
    for bad in (b"", data[:20], b"\xff" * 64):
        with pytest.raises(CheckpointError):
            directions_from_bytes(bad, "file", "a" * 64)


def test_directions_need_enough_that_varies() -> None:
    with pytest.raises(UsageError):
        fit_direction("x", "y", np.zeros((10, 4)), np.zeros(10))
    with pytest.raises(UsageError, match="varies"):
        fit_direction("x", "y", np.random.default_rng(0).normal(size=(60, 4)), np.ones(60))
