"""What readers see: whole states, from anywhere, with the optional columns that memories have."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from tests.engine.replay.stores import CONFIG, MODEL, batch, update

from everface.engine.errors import UsageError, WorkspaceError
from everface.engine.replay.store import Commit, ReplayStore


def test_embeddings_and_days_cost_nothing_where_there_are_none(tmp_path: Path) -> None:
    sizes = {}
    for name, length, day in (("plain", 0, ""), ("rich", 128, "2024-05-01")):
        vectors = np.random.default_rng(0).normal(size=(4, length)).astype(np.float32)
        photos = [dataclasses.replace(one, embedding=vectors[i]) for i, one in enumerate(batch(0, 4))]
        with ReplayStore.create(tmp_path / name, budget_bytes=65536, config_json=CONFIG) as store:
            assert set(store.cost(photos)) > set()
            store.commit(Commit(MODEL, 0, add=tuple(photos), day=day))
            sizes[name] = store.state.used_bytes
            assert store.state.days == ({0: day} if day else {})
            known = {photo.sha256[:16]: photo for photo in photos}
            for memory in store.memories():
                assert np.allclose(memory.embedding, known[memory.source_sha256].embedding, atol=2e-3)
    assert 4 * 256 <= sizes["rich"] - sizes["plain"] <= 4 * 256 + 120


def test_a_closed_store_can_be_read_and_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with ReplayStore.create("w", budget_bytes=65536, config_json=CONFIG) as store:
        update(store, 0, batch(0, 3))
    monkeypatch.chdir("/")
    ids = [one.id for one in store.memories()]
    assert len(store.read_images([ids[2], ids[0], ids[2]])) == 3
    with pytest.raises(WorkspaceError, match="closed, or opened before a fork; open it again"):
        store.forget(ids[0])
    with pytest.raises(UsageError, match="everface status"):
        store.read_images(["0" * 12])


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with ReplayStore.create(tmp_path / "w", budget_bytes=65536, config_json=CONFIG) as store:
        (tmp_path / "w" / "memory.safetensors").unlink()
        with pytest.raises(WorkspaceError, match="No such file"):
            store.memories()


def test_codes_of_one_length(tmp_path: Path) -> None:
    with ReplayStore.create(tmp_path / "w", budget_bytes=65536, config_json=CONFIG) as store:
        update(store, 0, batch(0, 3))
        with pytest.raises(UsageError, match="codes of 512 numbers"):
            update(store, 1, batch(1, 3, dimension=64))
