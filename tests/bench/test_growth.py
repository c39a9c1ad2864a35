"""Many small updates stay flat."""

from __future__ import annotations

from collections.abc import Callable

from everface.bench.growth import growth_rows
from everface.engine.learn.backend import Backend


def test_many_small_updates_stay_flat(quick_backend: Callable[..., Backend]) -> None:
    time, memory, kept = growth_rows(quick_backend(), 24)
    assert time.repeats == 6
    assert time.ratio is not None and time.ratio > 0.4
    assert memory.ratio is not None and memory.ratio > 0.9
    assert 0 < kept.value <= 16 * 1024
