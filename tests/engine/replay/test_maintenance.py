"""Budgets that change, photos that are forgotten, compaction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.engine.replay.stores import CHEAP, CONFIG, MODEL, batch, choose_uniform, photo, update

from everface.engine.errors import BudgetError, UsageError, WorkspaceError
from everface.engine.progress import Progress
from everface.engine.replay.check import check_workspace
from everface.engine.replay.codec import CodecChoice, encode
from everface.engine.replay.codec.latent import quantize
from everface.engine.replay.store import Commit, Key, ReplayStore


def filled(path: Path, budget: int, key: Key | None = None) -> ReplayStore:
    store = ReplayStore.create(path, budget_bytes=budget, config_json=CONFIG, key=key, cost=CHEAP)
    for timestamp in range(4):
        update(store, timestamp, batch(timestamp), timestamp)
    return store


def file_of(path: Path) -> Path:
    return next(path.glob("memory.*"))


def problems(path: Path, key: Key | None = None) -> list[str]:
    report = check_workspace(path, key=key)
    return [one for one in (*report.problems, *report.notices) if MODEL not in one]


@pytest.mark.parametrize("key", [None, Key(b"k")])
def test_a_lower_budget_evicts_and_shortens_at_once(tmp_path: Path, key: Key | None) -> None:
    path = tmp_path / "w.everface"
    with filled(path, 256 * 1024, key) as store:
        before = {one.id for one in store.memories()}
        gone = store.set_budget(48 * 1024, choose_uniform)
        after = {one.id for one in store.memories()}
        assert 0 < len(after) < len(before)
        assert set(gone) == before - after
        assert file_of(path).stat().st_size <= 48 * 1024
        assert store.state.budget_bytes == 48 * 1024
        assert problems(path, key) == []
        update(store, 4, batch(4))
        assert file_of(path).stat().st_size <= 48 * 1024
    with ReplayStore.open(path, key=key) as store:
        images = store.read_images([one.id for one in store.memories()])
        assert all(image.shape == (64, 64, 3) for image in images)


def test_a_higher_budget_keeps_all_and_makes_room(tmp_path: Path) -> None:
    path = tmp_path / "w.everface"
    with filled(path, 32 * 1024) as store:
        before, room = {one.id for one in store.memories()}, store.state.room_bytes
        assert store.set_budget(256 * 1024, choose_uniform) == ()
        assert {one.id for one in store.memories()} == before
        assert store.state.room_bytes > room + 200 * 1024
        update(store, 4, batch(4))
        assert len(store.memories()) == len(before) + 20


def test_a_budget_below_the_minimum_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "w.everface"
    with filled(path, 64 * 1024) as store:
        before = (path / "memory.safetensors").read_bytes()
        with pytest.raises(BudgetError, match="at least"):
            store.set_budget(8000, choose_uniform)
        assert (path / "memory.safetensors").read_bytes() == before


@pytest.mark.parametrize("budget", [64 * 1024, 512 * 1024])
def test_a_forgotten_photo_leaves_no_bytes(tmp_path: Path, budget: int) -> None:
    path = tmp_path / "w.everface"
    with ReplayStore.create(path, budget_bytes=budget, config_json=CONFIG) as store:
        photos = batch(0, 12)
        update(store, 0, photos)
        update(store, 1, batch(1, 12))
        target = next(one for one in store.memories() if one.timestamp == 0)
        twin = next(one for one in photos if one.sha256.startswith(target.source_sha256))
        history = {"best": target.id, "files": [{"sha256": twin.sha256, "name": "a"}]}
        keep = tuple(one.id for one in store.memories())
        store.commit(Commit(MODEL, 2, keep, anchors=twin.w[None], history=history, seen=((twin.sha256, twin.dhash),)))
        levels = quantize(twin.w[None])[1].tobytes()
        image = encode(twin.image, store.state.choice)[0]
        traces = {"image": image[40:72], "W code": levels[100:132], "sha": bytes.fromhex(twin.sha256)[:8]}
        before = (path / "memory.safetensors").read_bytes()
        assert traces["image"] in before
        assert traces["W code"] in before
        report = store.forget(target.id)
        assert {"image", "W code", "anchor", "fingerprint", "mentions in the history"} <= set(report.removed)
        assert any("model abab" in one for one in report.still_derived)
        assert any("owner" in one for one in report.still_derived)
        files = [file for file in path.rglob("*") if file.is_file()]
        for name, trace in traces.items():
            assert not any(trace in file.read_bytes() for file in files), name
        assert target.id not in str(store.state.history)
        assert twin.sha256 not in str(store.state.history)
        assert (twin.sha256[:16], twin.dhash) not in store.seen()
        assert not any(np.abs(w - twin.w).max(axis=1).min() < 0.1 for _, w in store.anchors())
        assert store.state.forgotten == ((target.id, MODEL),)
        assert problems(path) == []
        with pytest.raises(UsageError, match="everface status"):
            store.forget(target.id)
        keep = tuple(one.id for one in store.memories())
        store.commit(Commit("cd" * 32, 3, keep, retuned=True))
        assert store.state.forgotten == ()


def test_compact_makes_smaller_files_and_keeps_every_memory(tmp_path: Path) -> None:
    path = tmp_path / "w.everface"
    seen: list[Progress] = []
    with filled(path, 256 * 1024) as store:
        before = {one.id: one for one in store.memories()}
        images = dict(zip(before, store.read_images(list(before)), strict=True))
        size = (path / "memory.safetensors").stat().st_size
        report = store.compact(seen.append, choice=CodecChoice("avif", quality=50, effort=2))
        assert report.transcoded == report.examined == len(before)
        assert report.bytes_after < report.bytes_before
        assert report.file_bytes == (path / "memory.safetensors").stat().st_size < size
        assert (seen[-1].done, seen[-1].total) == (len(before), len(before))
        after = {one.id: one for one in store.memories()}
        assert set(after) == set(before)
        for one, memory in after.items():
            assert memory.codec == "avif"
            assert (memory.w == before[one].w).all()
            assert (memory.loss, memory.spread, memory.reason) == (0.25, 1.5, before[one].reason)
            assert np.abs(store.read_images([one])[0].astype(float) - images[one]).mean() < 12
        assert problems(path) == []
        assert store.compact(choice=CodecChoice("avif", quality=50, effort=2)).examined == 0


def test_readers_cannot_change_anything(tmp_path: Path) -> None:
    path = tmp_path / "w.everface"
    filled(path, 64 * 1024).close()
    with ReplayStore.open(path, readonly=True) as store:
        target = store.memories()[0].id
        for attempt in (
            lambda: store.forget(target),
            store.compact,
            lambda: store.set_budget(128 * 1024, choose_uniform),
        ):
            with pytest.raises(WorkspaceError, match="read-only"):
                attempt()


def test_anchors_without_an_image_go_first(tmp_path: Path) -> None:
    path = tmp_path / "w.everface"
    with ReplayStore.create(path, budget_bytes=128 * 1024, config_json=CONFIG) as store:
        update(store, 0, batch(0, 20), most=5)
        assert dict(store.anchors())[0].shape == (20, 512)
        for timestamp in range(1, 6):
            update(store, timestamp, batch(timestamp, 30))
        kept = sum(one.timestamp == 0 for one in store.memories())
        left = dict(store.anchors())
        assert len(left[0]) < 20
        assert len(left[0]) >= kept
        assert store.state.room_bytes < max(store.cost([photo(1, 9)]))
