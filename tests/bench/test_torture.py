"""Samples of the store's torture; `everface bench store --full` runs all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from everface.bench.torture.bundles import malformed_bundles
from everface.bench.torture.disk import PowerDisk
from everface.bench.torture.kills import kill_updates
from everface.bench.torture.malformed import malformed_reads
from everface.bench.torture.power import fail_writes, lose_power
from everface.engine.vault import Key


@pytest.mark.parametrize("key", [None, Key(b"k")])
def test_killed_updates_lose_nothing(tmp_path: Path, key: Key | None) -> None:
    result = kill_updates(tmp_path, 12, seed=3, key=key)
    assert result.losses == ()
    assert result.kills == 12
    assert result.updates >= 5


@pytest.mark.parametrize("key", [None, Key(b"k")])
def test_malformed_files_give_an_error_or_a_correct_read(tmp_path: Path, key: Key | None) -> None:
    files = 100 if key else 400  # each sealed one derives the key
    result = malformed_reads(tmp_path, files, seed=5, key=key)
    assert result.wrong == ()
    assert result.refused + result.correct == files
    assert result.refused > files / 2


def test_lost_power_loses_nothing(tmp_path: Path) -> None:
    result = lose_power(tmp_path, 40, seed=7)
    assert result.losses == ()
    assert result.cases == 40
    assert result.before > 5
    assert result.after > 5


def test_full_disks_and_short_writes_lose_nothing(tmp_path: Path) -> None:
    result = fail_writes(tmp_path, 30, seed=7)
    assert result.losses == ()
    assert result.before > 5
    assert result.after > 5


@pytest.mark.slow
def test_a_thousand_of_each(tmp_path: Path) -> None:
    kills = kill_updates(tmp_path, 1000, seed=1)
    assert (kills.kills, kills.losses) == (1000, ())
    power = lose_power(tmp_path, 1000, seed=1)
    assert (power.cases, power.losses) == (1000, ())
    files = malformed_reads(tmp_path, 100_000, seed=1)
    assert (files.refused + files.correct, files.wrong) == (100_000, ())


class _Careless(PowerDisk):
    """Forgets to make names durable."""

    def sync_folder(self, folder: Path) -> None:
        """Does nothing."""


def test_the_disk_finds_what_a_careless_writer_loses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("everface.bench.torture.power.PowerDisk", _Careless)
    assert lose_power(tmp_path, 40, seed=7).losses


@pytest.mark.parametrize("variant", ["portable", "custom"])
def test_malformed_bundles_give_an_error_or_pictures(tmp_path: Path, variant: str) -> None:
    result = malformed_bundles(tmp_path, 80, seed=3, variant=variant)
    assert result.wrong == ()
    assert result.refused > 40
    assert result.refused + result.correct == 80
