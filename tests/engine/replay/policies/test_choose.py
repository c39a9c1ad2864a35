"""Choosing as many memories as fit into bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.replay.stores import Uniform

from everface.engine.errors import UsageError
from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.choose import choose


def pool(sizes: list[int]) -> Pool:
    n = len(sizes)
    return Pool(np.zeros((n, 2)), np.zeros(n, np.int64), np.array(sizes), np.zeros(n), np.zeros(n))


@given(st.lists(st.integers(1, 500), max_size=40), st.integers(0, 5000), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_the_chosen_always_fit_and_hardly_more_would(sizes: list[int], room: int, seed: int) -> None:
    candidates = pool(sizes)
    chosen = choose(candidates, Uniform(), np.random.default_rng(seed), room_bytes=room)
    assert candidates.bytes[chosen].sum() <= room
    assert len(set(chosen.tolist())) == len(chosen)
    assert (np.diff(chosen) > 0).all()
    if len(set(sizes)) == 1:  # with equal sizes the most that fits is known
        assert len(chosen) == min(len(sizes), room // sizes[0])
    capped = choose(candidates, Uniform(), np.random.default_rng(seed), room_bytes=room, count=3)
    assert len(capped) <= 3


def test_a_count_alone_is_the_policys_own() -> None:
    candidates = pool([5, 5, 5, 5])
    chosen = choose(candidates, Uniform(), np.random.default_rng(1), count=2)
    assert chosen.tolist() == Uniform().select(candidates, 2, np.random.default_rng(1)).tolist()
    with pytest.raises(UsageError, match="neither"):
        choose(candidates, Uniform(), np.random.default_rng(1))
