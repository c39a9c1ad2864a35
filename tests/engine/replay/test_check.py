"""`check`: every flipped bit is found, in the memory file and in model files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.engine.replay.stores import CHEAP, CONFIG, MODEL, photo, update

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
    return report.ok and not report.notices


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
    assert report.file_bytes == (small / "memory.safetensors").stat().st_size


def flips(path: Path, bits: list[int]) -> list[int]:
    """Bits whose flip a check does not find."""
    file = path / "memory.safetensors"
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
    size = (small / "memory.safetensors").stat().st_size
    rng = np.random.default_rng(0)
    header = rng.choice(100 * 8, 250, replace=False)
    rest = rng.choice(size * 8, 250, replace=False)
    assert flips(small, sorted({int(bit) for bit in (*header, *rest)})) == []


@pytest.mark.slow
def test_every_flipped_bit_is_found(small: Path) -> None:
    size = (small / "memory.safetensors").stat().st_size
    assert flips(small, list(range(size * 8))) == []


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
    good = (small / "memory.safetensors").read_bytes()
    for size in (0, 1, 99, 512, 1024, len(good) // 2, len(good) - 512, len(good) - 1, len(good) + 512):
        (copy / "memory.safetensors").write_bytes((good + bytes(512))[:size])
        assert not check_workspace(copy).ok
        with pytest.raises(EverfaceError):
            ReplayStore.open(copy, readonly=True).read_images(["0" * 12])
