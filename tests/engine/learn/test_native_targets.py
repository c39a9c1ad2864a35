"""Targets of the native backend: what they accept, and how degradations act on them."""

from __future__ import annotations

import numpy as np
import pytest

from everface.engine.config import EngineConfig
from everface.engine.errors import UsageError
from everface.engine.latents.degradation import Degradation
from everface.engine.learn.backend import LossConfig
from everface.engine.learn.native_backend import NativeBackend
from everface.engine.learn.native_targets import NativeTargets, rows_of

LOSS = NativeBackend(EngineConfig(), LossConfig()).loss


def test_bytes_and_floats_are_the_same_photos() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    pictures = np.zeros((2, 16, 16, 3), np.float32)
    parts = [NativeTargets.of(LOSS, one, None) for one in (images, images.astype(np.float32) / 127.5 - 1)]
    losses = [LOSS(pictures, part.photos, None, False)[0] for part in parts]
    np.testing.assert_array_equal(losses[0], losses[1])
    assert len(parts[0]) == 2


def test_what_is_no_photo_is_refused() -> None:
    for shape in ((2, 16, 16), (2, 16, 8, 3), (2, 16, 16, 1)):
        with pytest.raises(UsageError):
            NativeTargets.of(LOSS, np.zeros(shape, np.uint8), None)
    with pytest.raises(UsageError):
        NativeTargets.checked([1, 2])
    with pytest.raises(UsageError):
        NativeTargets.join()


def test_the_pull_back_is_the_transpose() -> None:
    mask = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    targets = NativeTargets.of(LOSS, np.zeros((1, 16, 16, 3), np.uint8), Degradation(2.0, 1.0, 0.5, mask))
    random = np.random.default_rng(0)
    x, y = (random.standard_normal((2, 16, 16, 3)).astype(np.float32) for _ in range(2))
    inner = [float((targets.degraded(x) * y).sum()), float((x * targets.pulled_back(y)).sum())]
    assert inner[0] == pytest.approx(inner[1], rel=1e-4)
    with pytest.raises(UsageError):
        NativeTargets.join(targets)


def test_no_index_means_all_rows() -> None:
    assert rows_of(None, 3).tolist() == [0, 1, 2]
    assert rows_of(np.array([2, 2]), 3).tolist() == [2, 2]
