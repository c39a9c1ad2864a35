"""The byte budget: sizes are exact, what fits the room fits the file, and overhead is small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.replay.stores import CHEAP, CONFIG, batch, update

from everface.engine.replay.budget import room_bytes
from everface.engine.replay.codec import CodecChoice
from everface.engine.replay.codec.latent import code_bytes
from everface.engine.replay.content import Content, row_type
from everface.engine.replay.memory_file import file_bytes
from everface.engine.replay.store import Key, ReplayStore
from everface.engine.replay.values import Ledger


@given(st.integers(17, 400), st.integers(0, 2**32), st.booleans())
@settings(max_examples=12, deadline=None)
def test_what_fits_the_room_always_fits_the_file(tmp_path_factory, kib: int, seed: int, sealed: bool) -> None:  # type: ignore[no-untyped-def]
    path, rng = tmp_path_factory.mktemp("room") / "w.everface", np.random.default_rng(seed)
    key = Key(b"k") if sealed else None
    with ReplayStore.create(path, budget_bytes=kib * 1024, config_json=CONFIG, key=key, cost=CHEAP) as store:
        for timestamp in range(3):
            side = int(rng.choice([16, 32, 64]))
            update(store, timestamp, batch(timestamp, int(rng.integers(1, 60)), side), timestamp)  # never BudgetError
            size = next(path.glob("memory.*")).stat().st_size
            assert size == store.state.used_bytes <= kib * 1024


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("budget", [64 << 10, 1 << 20, 256 << 20])
def test_room_knows_what_every_block_costs(budget: int, sealed: bool) -> None:
    ledger = Ledger(1, "ab" * 32, CONFIG, budget, CodecChoice(), reasons=("x",))
    content = Content(ledger, dimension=512, sealed=sealed)
    rows = np.zeros(1, row_type())
    rows["length"] = 1500
    room, cost = room_bytes(content, budget), int(replace(content, rows=rows).costs[0])
    full = replace(content, rows=np.repeat(rows, room // cost))
    assert 0.9 * budget < file_bytes(full) <= budget


@pytest.mark.parametrize("key", [None, Key(b"k")])
@pytest.mark.parametrize(("kib", "most"), [(64, 6 * 1024), (1024, 0.04)])
def test_little_is_spent_on_anything_but_photos(tmp_path: Path, kib: int, most: float, key: Key | None) -> None:
    with ReplayStore.create(tmp_path / "w", budget_bytes=kib * 1024, config_json=CONFIG, key=key, cost=CHEAP) as store:
        for timestamp in range(2 if kib == 64 else 9):
            update(store, timestamp, batch(timestamp, 20 if kib == 64 else 40, 128), timestamp)
        content = store._content()
        payload = int(content.rows["length"].sum()) + len(content.rows) * code_bytes(content.dimension)
        payload += len(content.anchors) * code_bytes(content.dimension)
        over = store.state.used_bytes - payload
        assert payload > 0.5 * kib * 1024
        assert over <= (most if most > 1 else most * payload), over
