"""`check`: every flipped bit is found, and what SQLite leaves behind is zeroed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.engine.replay.stores import CHEAP, CONFIG, MODEL, batch, photo, update

from everface.engine.errors import EverfaceError, KeyMismatchError, WorkspaceError
from everface.engine.replay.check import CheckReport, check_workspace
from everface.engine.replay.store import Key, ReplayStore, minimum_budget


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A store of a few kilobytes that has been through several updates."""
    path = tmp_path / "w.everface"
    with ReplayStore.create(path, budget_bytes=minimum_budget(CONFIG), config_json=CONFIG) as store:
        for timestamp in range(3):
            photos = [photo(10 * timestamp + i, timestamp, side=16, dimension=24) for i in range(3)]
            update(store, timestamp, photos, most=3)
    return path


def sound(report: CheckReport) -> bool:
    return report.ok and report.dirty_bytes == 0


def without_model(report: CheckReport) -> CheckReport:
    """These stores name a model that nobody has put on the shelf."""
    left = tuple(one for one in report.problems if MODEL not in one)
    return CheckReport(**{**report.__dict__, "problems": left, "ok": not left})


def test_a_sound_store_is_sound(small: Path) -> None:
    report = check_workspace(small)
    assert [MODEL in one for one in report.problems] == [True]
    report = without_model(report)
    assert sound(report)
    assert report.memories == 3
    assert report.unused_bytes < report.file_bytes


def flips(path: Path, bits: list[int]) -> list[int]:
    """Bits whose flip a check does not find."""
    file = path / "replay.db"
    good = file.read_bytes()
    missed = []
    for bit in bits:
        changed = bytearray(good)
        changed[bit // 8] ^= 1 << bit % 8
        file.write_bytes(changed)
        if sound(without_model(check_workspace(path))):
            missed.append(bit)
    file.write_bytes(good)
    return missed


def test_flipped_bits_are_found(small: Path) -> None:
    size = (small / "replay.db").stat().st_size
    rng = np.random.default_rng(0)
    header = rng.choice(100 * 8, 250, replace=False)
    rest = rng.choice(size * 8, 250, replace=False)
    assert flips(small, sorted({int(bit) for bit in (*header, *rest)})) == []


@pytest.mark.slow
def test_every_flipped_bit_is_found(small: Path) -> None:
    size = (small / "replay.db").stat().st_size
    assert flips(small, list(range(size * 8))) == []


@pytest.mark.parametrize("key", [None, Key(b"k")])
def test_after_any_commit_nothing_unused_is_left_dirty(tmp_path: Path, key: Key | None) -> None:
    path = tmp_path / "w.everface"
    rng = np.random.default_rng(1)
    with ReplayStore.create(path, budget_bytes=200 * 1024, config_json=CONFIG, key=key, cost=CHEAP) as store:
        for timestamp in range(12):
            count = int(rng.integers(1, 40))
            update(store, timestamp, batch(timestamp, count, 32, 64), timestamp, most=int(rng.integers(5, 300)))
            report = without_model(check_workspace(path, key=key))
            assert sound(report), report
            assert report.memories == len(store.memories())
            assert report.file_bytes <= 200 * 1024


def test_wide_trees_are_read_exactly(tmp_path: Path) -> None:
    """Many records give the table interior pages, whose keys must be those of rows."""
    path = tmp_path / "w.everface"
    rng = np.random.default_rng(2)
    with ReplayStore.create(path, budget_bytes=1 << 21, config_json=CONFIG) as store:
        for timestamp in range(30):
            photos = batch(timestamp, 30, 32, 512)
            update(store, timestamp, photos, timestamp, most=int(rng.integers(10, 60)))
            report = without_model(check_workspace(path))
            assert sound(report), (timestamp, report)


def test_damage_outside_the_database_is_found(small: Path) -> None:
    with ReplayStore.open(small) as store:
        name = store.models.put(b"weights")
    file = small / "models" / f"{name}.safetensors"
    assert without_model(check_workspace(small)).models == 1
    file.write_bytes(b"weightz")
    assert any(name in one for one in check_workspace(small).problems)
    (small / "holiday.jpg").write_bytes(b"x")
    assert "holiday.jpg: not part of a workspace" in check_workspace(small).notices


def test_no_workspace_and_wrong_keys(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="everface init"):
        check_workspace(tmp_path / "none")
    path = tmp_path / "w.everface"
    ReplayStore.create(path, budget_bytes=65536, config_json=CONFIG, key=Key(b"k"), cost=CHEAP).close()
    with pytest.raises(KeyMismatchError):
        check_workspace(path)
    assert sound(check_workspace(path, key=Key(b"k")))


def test_truncated_files_never_pass(small: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.everface"
    shutil.copytree(small, copy)
    good = (small / "replay.db").read_bytes()
    for size in (0, 1, 99, 512, 1024, len(good) // 2, len(good) - 512, len(good) - 1, len(good) + 512):
        (copy / "replay.db").write_bytes((good + bytes(512))[:size])
        assert not check_workspace(copy).ok
        with pytest.raises(EverfaceError):
            ReplayStore.open(copy, readonly=True).read_images(["0" * 12])
