"""From one content to the next: no photo twice, and policies see what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.engine.replay.stores import CONFIG, MODEL, batch, choose_uniform, photo, update

from everface.engine.errors import UsageError
from everface.engine.replay.store import Commit, Memory, ReplayStore


def test_no_two_memories_of_one_photo(tmp_path: Path) -> None:
    with ReplayStore.create(tmp_path / "w.everface", budget_bytes=65536, config_json=CONFIG) as store:
        one = photo(1, 0)
        store.commit(Commit(MODEL, 0, add=(one,)))
        with pytest.raises(UsageError, match="twice"):
            store.commit(Commit(MODEL, 1, (store.memories()[0].id,), (one,)))


def test_policies_see_what_was_stored(tmp_path: Path) -> None:
    """What is chosen from at a lowered budget has the stored spread and loss."""
    with ReplayStore.create(tmp_path / "w.everface", budget_bytes=1 << 17, config_json=CONFIG) as store:
        update(store, 0, batch(0))
        target = store.memories()[0].id
        store.commit(Commit(MODEL, 1, tuple(one.id for one in store.memories()), losses={target: 0.75}))
        seen: list[Memory] = []

        def choose(candidates: Sequence[Memory], room: int) -> np.ndarray:
            seen.extend(candidates)
            return choose_uniform(candidates, room)

        store.set_budget(16 * 1024, choose)
        assert {one.loss for one in seen} == {0.25, 0.75}
        assert {one.spread for one in seen} == {1.5}
