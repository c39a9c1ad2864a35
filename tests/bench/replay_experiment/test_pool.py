"""Cells are files: what is there is not run again."""

from __future__ import annotations

import json
import sys
import time
import types
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import pytest

from everface.bench.replay_experiment import pool
from everface.bench.replay_experiment.cells import Cell, Lab, run_cell
from everface.bench.replay_experiment.encode import Settings
from everface.bench.replay_experiment.people import Person
from everface.engine.errors import MissingBackendError
from everface.engine.progress import Progress

CELLS = (Cell("someone", 0, "lower", "-"), Cell("someone", 0, "er-rand", "b=3"))


@pytest.fixture
def calls(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    ran: list[Cell] = []

    def work(of: Lab, person: Person, cell: Cell) -> dict[str, Any]:
        ran.append(cell)
        return run_cell(of, person, cell)

    monkeypatch.setattr(pool, "_lab", lambda *_: lab)
    monkeypatch.setattr(pool, "run_cell", work)
    return ran


def test_a_second_run_goes_on(calls: list[Cell], person: Person, settings: Settings, tmp_path: Path) -> None:
    tasks, where, heard = [(person, one) for one in CELLS], pool.Where(tmp_path), list[Progress]()
    assert pool.run_cells(tasks[:1], settings, where) == 1
    assert pool.run_cells(tasks, settings, where, heard.append) == 2
    assert calls == list(CELLS)
    assert heard[-1].done == heard[-1].total == 2
    told = pool.read_cell(tmp_path, CELLS[1], settings)
    assert told is not None
    assert told == json.loads((tmp_path / CELLS[1].file).read_text())


def test_other_settings_are_another_experiment(
    calls: list[Cell], person: Person, settings: Settings, tmp_path: Path
) -> None:
    pool.run_cells([(person, CELLS[0])], settings, pool.Where(tmp_path))
    assert pool.read_cell(tmp_path, CELLS[0], replace(settings, samples=5)) is None
    assert pool.read_cell(tmp_path, CELLS[1], settings) is None


def test_after_the_deadline_nothing_starts(
    calls: list[Cell], person: Person, settings: Settings, tmp_path: Path
) -> None:
    where = pool.Where(tmp_path, deadline=time.time() - 1)
    assert pool.run_cells([(person, CELLS[0])], settings, where) == 0
    assert calls == []


def test_a_cluster_needs_ray(
    person: Person, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray.util.multiprocessing", None)
    with pytest.raises(MissingBackendError, match="everface\\[cluster\\]"):
        pool.run_cells([(person, CELLS[0])], settings, pool.Where(tmp_path, cluster=True))


def test_a_cluster_gets_the_same_cells(
    calls: list[Cell], person: Person, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's pool has the interface of multiprocessing's, which a pool of threads has too."""
    ray = types.ModuleType("ray.util.multiprocessing")
    ray.Pool = lambda initializer: ThreadPool(1, initializer)  # type: ignore[attr-defined]
    for name in ("ray", "ray.util"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, ray.__name__, ray)
    tasks = [(person, one) for one in CELLS]
    assert pool.run_cells(tasks, settings, pool.Where(tmp_path, cluster=True)) == 2
    assert calls == list(CELLS)
    here = tmp_path / "here"
    pool.run_cells(tasks, settings, pool.Where(here))
    for one in CELLS:
        found = [pool.read_cell(folder, one, settings) for folder in (tmp_path, here)]
        assert found[0] is not None and found[1] is not None
        assert found[0]["matrices"] == found[1]["matrices"]


@pytest.mark.slow
def test_processes_give_what_one_gives(tiny_base: Path, person: Person, settings: Settings, tmp_path: Path) -> None:
    tasks = [(person, one) for one in CELLS]
    for folder, processes in (("one", 1), ("two", 2)):
        pool.run_cells(tasks, settings, pool.Where(tmp_path / folder, processes=processes))
    for one in CELLS:
        found = [pool.read_cell(tmp_path / folder, one, settings) for folder in ("one", "two")]
        assert found[0] is not None and found[1] is not None
        assert found[0]["matrices"] == found[1]["matrices"]
