"""Which images a step sees: turns, weights, codes of all timestamps."""

from __future__ import annotations

import numpy as np
import pytest

from everface.engine.errors import UsageError
from everface.engine.learn.mixing import Stream, codes_to_distil, mixed, replay_weights


def test_every_image_is_dealt_once_an_epoch() -> None:
    dealt = np.concatenate([mixed([Stream(0, 7, 2)], 0, step) for step in range(7)])
    assert sorted(dealt[:7]) == sorted(dealt[7:]) == list(range(7))
    assert dealt[:7].tolist() != dealt[7:].tolist()
    assert len(mixed([Stream(0, 1, 4)], 0, 0)) == 4


def test_streams_take_their_own_turns() -> None:
    streams = [Stream(0, 3, 1), Stream(3, 5, 2)]
    seen = np.stack([mixed(streams, 4, step) for step in range(30)])
    assert set(seen[:, 0]) == {0, 1, 2} and set(seen[:, 1:].ravel()) == {3, 4, 5, 6, 7}
    assert np.array_equal(seen, np.stack([mixed(streams, 4, step) for step in range(30)]))


def test_weights_say_how_often() -> None:
    stream = Stream(2, 3, 1, (0.0, 1.0, 3.0))
    seen = np.concatenate([mixed([stream], 0, step) for step in range(400)])
    counts = np.bincount(seen, minlength=5)
    assert counts[2] == 0 and 2 < counts[4] / counts[3] < 4.5
    assert len(set(mixed([Stream(0, 3, 2, (1.0, 1.0, 1.0))], 0, 0))) == 2
    for wrong in ((1.0,), (0.0, 0.0, 0.0), (-1.0, 2.0, 1.0), (float("inf"), 1.0, 1.0)):
        with pytest.raises(UsageError, match="weights"):
            Stream(0, 3, 1, wrong)


def test_few_photos_get_half_and_many_get_twice_their_number() -> None:
    few, many, one = replay_weights(3, 7), replay_weights(40, 4), replay_weights(1, 9)
    assert few is not None and sum(few[:3]) == pytest.approx(0.5)
    assert many is not None and sum(many[:40]) == pytest.approx(0.9)
    assert one is not None and one[0] == pytest.approx(0.2) and sum(one) == pytest.approx(1)
    by_loss = replay_weights(2, 2, (1.0, 3.0))
    assert by_loss is not None and by_loss[1] == pytest.approx(3 * by_loss[0])


def test_one_kind_alone_takes_turns() -> None:
    assert replay_weights(2, 0) is replay_weights(0, 2) is None
    assert replay_weights(2, 0, (1.0, 2.0)) == (1.0, 2.0)


def groups(count: int, size: int = 6) -> list[np.ndarray]:
    """Codes whose only coordinate tells timestamp and index."""
    return [np.arange(size)[:, None] + 100.0 * t for t in range(count)]


def test_codes_come_from_all_timestamps_alike() -> None:
    codes = codes_to_distil(groups(4), 10, np.random.default_rng(0))[:, 0]
    assert sorted(np.bincount((codes // 100).astype(int))) == [2, 2, 3, 3]
    assert len(set(codes.tolist())) == 10
    assert (np.diff(codes // 100) >= 0).all()


def test_what_was_dropped_never_comes_back() -> None:
    before: set[float] = set()
    for count in range(1, 12):
        now = set(codes_to_distil(groups(count), 7, np.random.default_rng(3))[:, 0].tolist())
        assert len(now) == min(7, 6 * count)
        assert all(one in before or one >= 100 * (count - 1) for one in now)
        before = now


@pytest.mark.parametrize("most", [0, None])
def test_none_and_all(most: int | None) -> None:
    assert len(codes_to_distil(groups(2), most, np.random.default_rng(0))) == (0 if most == 0 else 12)
    assert len(codes_to_distil([], most, np.random.default_rng(0))) == 0
