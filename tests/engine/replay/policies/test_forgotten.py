"""`forgotten` keeps what is shown worst."""

from __future__ import annotations

import numpy as np

from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.forgotten import Forgotten


def pool(groups: list[int], loss: list[float]) -> Pool:
    n = len(groups)
    return Pool(np.zeros((n, 2)), np.array(groups), np.ones(n, np.int64), np.ones(n), np.array(loss))


def select(one: Pool, count: int) -> list[int]:
    return Forgotten().select(one, count, np.random.default_rng(0)).tolist()


def test_the_worst_of_the_most_forgotten_timestamps_first() -> None:
    one = pool([0, 0, 1, 1, 2, 2], [0.1, 0.5, 0.9, 0.8, 0.2, 0.3])
    assert select(one, 2) == [1, 2]
    assert select(one, 3) == [1, 2, 5]
    assert select(one, 4) == [1, 2, 3, 5]
    assert select(one, 9) == list(range(6))


def test_unmeasured_photos_come_last() -> None:
    assert select(pool([0, 0, 1], [np.nan, 0.1, np.nan]), 2) == [1, 2]
