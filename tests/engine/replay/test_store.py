"""The replay store as a whole: what is committed is read back, within the budget, by one writer at a time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from tests.engine.replay.stores import CHEAP, CONFIG, MODEL, batch, photo, update

from everface.engine.errors import BudgetError, KeyMismatchError, UsageError, WorkspaceError
from everface.engine.replay.store import Commit, Key, ReplayStore, minimum_budget


@pytest.mark.parametrize("key", [None, Key.from_passphrase("secret")])
def test_what_is_committed_is_read_back(tmp_path: Path, key: Key | None) -> None:
    path = tmp_path / "w.everface"
    photos = batch(0, 5)
    with ReplayStore.create(path, budget_bytes=65536, config_json=CONFIG, key=key, cost=CHEAP) as store:
        costs = store.cost(photos)
        update(store, 0, photos)
    with ReplayStore.open(path, key=key, readonly=True) as store:
        memories = store.memories()
        by_sha = {one.source_sha256: one for one in memories}
        assert len(memories) == 5
        assert store.state.model == MODEL
        assert store.state.config_json == CONFIG
        assert store.state.history == ({"timestamp": 0, "kept": 5},)
        owner = store.state.owner
        assert owner is not None
        assert owner.count == 1
        for one, cost in zip(photos, costs, strict=True):
            memory = by_sha[one.sha256[:16]]
            image = store.read_images([memory.id])[0].astype(float)
            assert np.abs(image - one.image).mean() < 12
            assert np.abs(memory.w - one.w).max() < 0.03
            assert (memory.bytes, memory.dhash, memory.timestamp) == (cost, one.dhash, 0)
            assert (memory.spread, memory.loss, memory.reason) == (1.5, 0.25, one.reason)
        assert set(store.seen()) == {(one.sha256[:16], one.dhash) for one in photos}
        [(timestamp, anchors)] = store.anchors()
        assert (timestamp, anchors.shape) == (0, (5, 512))


@pytest.mark.parametrize("budget", [16 * 1024, 64 * 1024, 300 * 1024])
def test_the_file_never_outgrows_its_budget(tmp_path: Path, budget: int) -> None:
    path = tmp_path / "w.everface"
    with ReplayStore.create(path, budget_bytes=budget, config_json=CONFIG) as store:
        for timestamp in range(8):
            update(store, timestamp, batch(timestamp), timestamp)
            sizes = {file.name: file.stat().st_size for file in path.iterdir() if file.is_file()}
            assert set(sizes) == {"memory.safetensors", "lock", "writer.json"}
            state = store.state
            assert state.used_bytes == sizes["memory.safetensors"] <= budget
            assert sum(one.bytes for one in store.memories()) <= state.used_bytes


def test_a_commit_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "w.everface"
    with ReplayStore.create(path, budget_bytes=32 * 1024, config_json=CONFIG) as store:
        update(store, 0, batch(0, 4))
        before = (path / "memory.safetensors").read_bytes()
        with pytest.raises(BudgetError, match="raise the budget"):
            store.commit(Commit(MODEL, 1, tuple(one.id for one in store.memories()), tuple(batch(1, 40))))
        assert (path / "memory.safetensors").read_bytes() == before
        assert len(store.memories()) == 4
        update(store, 1, batch(1, 4))


def test_a_budget_too_small_names_the_minimum(tmp_path: Path) -> None:
    least = minimum_budget(CONFIG)
    assert least <= 16 * 1024
    with pytest.raises(BudgetError, match=str(least)):
        ReplayStore.create(tmp_path / "w.everface", budget_bytes=least - 1, config_json=CONFIG)
    assert not list(tmp_path.iterdir())
    ReplayStore.create(tmp_path / "w.everface", budget_bytes=least, config_json=CONFIG).close()


def test_wrong_and_missing_keys_fail_closed(tmp_path: Path) -> None:
    path = tmp_path / "w.everface"
    ReplayStore.create(path, budget_bytes=65536, config_json=CONFIG, key=Key(b"right"), cost=CHEAP).close()
    for key in (None, Key(b"wrong")):
        with pytest.raises(KeyMismatchError, match="passphrase"):
            ReplayStore.open(path, key=key)
    ReplayStore.open(path, key=Key(b"right")).close()


def test_one_writer_many_readers(tmp_path: Path) -> None:
    path = tmp_path / "w.everface"
    with ReplayStore.create(path, budget_bytes=65536, config_json=CONFIG) as store:
        with pytest.raises(WorkspaceError, match="another engine of this program"):
            ReplayStore.open(path)
        update(store, 0, batch(0, 3))
        with ReplayStore.open(path, readonly=True) as reader:
            assert len(reader.memories()) == 3
            with pytest.raises(WorkspaceError, match="read-only"):
                reader.commit(Commit(MODEL, 1))
    ReplayStore.open(path).close()


def test_bad_commits_are_refused(tmp_path: Path) -> None:
    with ReplayStore.create(tmp_path / "w.everface", budget_bytes=65536, config_json=CONFIG) as store:
        one = photo(1, 0)
        for commit, subject in (
            (Commit(MODEL, 1), "commit.timestamp"),
            (Commit(MODEL, 0, keep=("0" * 12,)), "memory 0"),
            (Commit(MODEL, 0, add=(one, one)), "commit"),
            (Commit(MODEL, 0, history={"x": object()}), "commit.history"),
        ):
            with pytest.raises(UsageError, match=subject):
                store.commit(commit)
        assert store.state.timestamps == 0


def test_views_are_kept_and_counted(tmp_path: Path) -> None:
    views = [np.array([0.1, -0.2, 0.3, 1, 2, 2.5], np.float32) * (i + 1) for i in range(4)]
    photos = [dataclasses.replace(one, view=views[i]) for i, one in enumerate(batch(0, 4))]
    with ReplayStore.create(tmp_path / "w", budget_bytes=256 * 1024, config_json=CONFIG) as store:
        plain = store.cost(batch(0, 4))
        assert [a - b for a, b in zip(store.cost(photos), plain, strict=True)] == [12] * 4
        update(store, 0, photos)
        expected = {one.sha256[:16]: one.view for one in photos}
    with ReplayStore.open(tmp_path / "w") as store:
        for memory in store.memories():
            assert np.allclose(memory.view, expected[memory.source_sha256], atol=2e-3)
        mixed = [photo(900, 1)]
        with pytest.raises(UsageError, match="as many numbers"):
            update(store, 1, mixed)
        assert store.state.timestamps == 1
