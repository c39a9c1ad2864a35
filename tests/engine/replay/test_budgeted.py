"""`budgeted`: within the bytes, better than chance, and the rate model that goes with it."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from everface.engine.replay.codec import CodecChoice
from everface.engine.replay.codec.rate import (
    denser_choice,
    error_of,
    rate_points,
)
from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.budgeted import Budgeted
from everface.engine.replay.policies.choose import BytesPolicy, choose


def pool(n: int, seed: int, d: int = 8) -> Pool:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(500, 4000, n)
    groups = np.sort(rng.integers(0, 4, n))
    latents = rng.normal(size=(n, d)) + 3 * rng.normal(size=(4, d))[groups]
    return Pool(latents, groups, sizes, np.ones(n), np.full(n, np.nan))


def support(candidates: Pool, chosen: np.ndarray, seed: int = 9) -> float:
    units = np.random.default_rng(seed).normal(size=(2000, candidates.latents.shape[1]))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    values = units @ (candidates.latents - candidates.latents.mean(axis=0)).T
    return float(np.maximum(values[:, chosen].max(axis=1), 0).mean()) if len(chosen) else 0.0


@given(st.integers(1, 60), st.integers(0, 60_000), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_the_bytes_are_kept_and_nothing_more_would_fit(n: int, room: int, seed: int) -> None:
    candidates = pool(n, seed)
    chosen = Budgeted().select_bytes(candidates, room, np.random.default_rng(seed))
    assert candidates.bytes[chosen].sum() <= room
    assert (np.diff(chosen) > 0).all()
    left = np.setdiff1d(np.arange(n), chosen)
    assert not (candidates.bytes[left] <= room - candidates.bytes[chosen].sum()).any()


def test_it_beats_random_choices_by_far_and_is_near_the_optimum() -> None:
    for seed in range(5):
        candidates = pool(12, seed, d=4)
        room = int(candidates.bytes.sum() // 3)
        mine = support(candidates, Budgeted(2000).select_bytes(candidates, room, np.random.default_rng(9)))
        subsets = [
            np.array(one) for k in range(1, 13) for one in itertools.combinations(range(12), k)
            if candidates.bytes[list(one)].sum() <= room
        ]  # fmt: skip
        values = np.array([support(candidates, one) for one in subsets])
        assert mine >= 0.9 * values.max()
        assert mine > np.quantile(values, 0.9)


def test_choose_asks_it_for_bytes() -> None:
    assert isinstance(Budgeted(), BytesPolicy)
    candidates = pool(40, 0)
    chosen = choose(candidates, Budgeted(), np.random.default_rng(0), room_bytes=20_000, count=6)
    assert len(chosen) == 6
    assert len(Budgeted().select(candidates, 7, np.random.default_rng(0))) == 7


def test_fewer_bytes_never_have_a_smaller_error_along_a_ladder() -> None:
    points = rate_points()
    assert {point.side for point in points} == {64, 128, 256}
    for key in {(one.side, one.choice.name, one.choice.effort, one.choice.resolution) for one in points}:
        ladder = sorted(
            (one for one in points if (one.side, one.choice.name, one.choice.effort, one.choice.resolution) == key),
            key=lambda one: one.bytes,
        )
        assert all(a.error >= b.error for a, b in itertools.pairwise(ladder)), key


def test_idle_time_makes_it_denser_at_about_the_same_error() -> None:
    for side in (64, 100, 128):
        capture = CodecChoice("webp", 75, 6)
        dense = denser_choice(side, capture)
        assert (dense.name, dense.resolution) == ("avif", None)
        assert error_of(side, dense) <= 1.3 * error_of(side, capture)
