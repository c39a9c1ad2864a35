"""Generative replay: which codes, what they show, how photos and pictures mix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from everface.engine.errors import UsageError
from everface.engine.generators.bases import load_base
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.tune.distil import distilled, evenly, joined, replay_of
from everface.engine.tune.loop import TuningSet


def groups(count: int, size: int = 6) -> list[np.ndarray]:
    """Codes whose only coordinate tells timestamp and index."""
    return [np.arange(size)[:, None] + 100.0 * t for t in range(count)]


def test_codes_come_from_all_timestamps_alike() -> None:
    found = evenly(groups(4), 10, np.random.default_rng(0))[:, 0]
    counts = np.bincount((found // 100).astype(int))
    assert sorted(counts) == [2, 2, 3, 3]
    assert len(set(found.tolist())) == 10
    assert (np.diff(found // 100) >= 0).all()


def test_what_was_dropped_never_comes_back() -> None:
    before: set[float] = set()
    for count in range(1, 12):
        now = set(evenly(groups(count), 7, np.random.default_rng(3))[:, 0].tolist())
        assert len(now) == min(7, 6 * count)
        assert all(one in before or one >= 100 * (count - 1) for one in now)
        before = now


@pytest.mark.parametrize("most", [0, None])
def test_none_and_all(most: int | None) -> None:
    assert len(evenly(groups(2), most, np.random.default_rng(0))) == (0 if most == 0 else 12)
    assert len(evenly([], most, np.random.default_rng(0))) == 0


def test_pictures_are_the_models_own(tiny_base: Path, quick_loss: ReconstructionLoss) -> None:
    generator = load_base(str(tiny_base)).generator
    codes = np.random.default_rng(0).normal(size=(5, 32)).astype(np.float32)
    found = distilled(generator, quick_loss, codes, batch=2)
    assert found is not None
    with torch.no_grad():
        expected = generator.render(torch.from_numpy(codes)).clamp(-1, 1)
    torch.testing.assert_close(found.targets.images, expected)
    assert distilled(generator, quick_loss, codes[:0]) is None


def images(loss: ReconstructionLoss, count: int) -> TuningSet:
    return TuningSet(torch.zeros(count, 4), loss.prepare(torch.zeros(count, 3, 16, 16)))


def test_few_photos_get_half_and_many_get_twice_their_number(quick_loss: ReconstructionLoss) -> None:
    few = replay_of(images(quick_loss, 3), images(quick_loss, 7))
    assert few is not None and few.weights is not None
    assert sum(few.weights[:3]) == pytest.approx(0.5)
    many = replay_of(images(quick_loss, 40), images(quick_loss, 4))
    assert many is not None and many.weights is not None
    assert sum(many.weights[:40]) == pytest.approx(0.9)
    one = replay_of(images(quick_loss, 1), images(quick_loss, 9))
    assert one is not None and one.weights is not None
    assert one.weights[0] == pytest.approx(0.2)
    assert sum(one.weights) == pytest.approx(1)


def test_one_kind_alone_stays_as_it_is(quick_loss: ReconstructionLoss) -> None:
    photos = images(quick_loss, 2)
    assert replay_of(photos, None) is photos
    assert replay_of(None, photos) is photos
    assert replay_of(None, None) is None
    assert len(joined(photos, images(quick_loss, 4))) == 6


def test_weights_that_cannot_be_are_refused(quick_loss: ReconstructionLoss) -> None:
    two = images(quick_loss, 2)
    for wrong in ((1.0,), (0.0, 0.0), (-1.0, 2.0), (float("inf"), 1.0)):
        with pytest.raises(UsageError, match="weights"):
            TuningSet(two.codes, two.targets, wrong)
