"""Cells are files: what is there is not run again."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from everface.bench.replay_experiment import pool
from everface.bench.replay_experiment.cells import Cell, CellResult, Lab, run_cell
from everface.bench.replay_experiment.encode import Settings
from everface.bench.replay_experiment.people import Person
from everface.engine.errors import MissingBackendError
from everface.engine.progress import Progress

CELLS = (Cell("someone", 0, "lower", "-"), Cell("someone", 0, "er-rand", "b=3"))


@pytest.fixture
def calls(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    ran: list[Cell] = []

    def work(person: Person, cell: Cell, *_: object) -> CellResult:
        ran.append(cell)
        return run_cell(lab, person, cell)

    monkeypatch.setattr(pool, "_work", work)
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
    shown = pool.pictures_of(tmp_path, CELLS[0])
    assert shown is not None
    assert shown[0].shape == shown[1].shape


def test_other_settings_are_another_experiment(
    calls: list[Cell], person: Person, settings: Settings, tmp_path: Path
) -> None:
    pool.run_cells([(person, CELLS[0])], settings, pool.Where(tmp_path))
    assert pool.read_cell(tmp_path, CELLS[0], replace(settings, samples=5)) is None
    assert pool.read_cell(tmp_path, CELLS[1], settings) is None


def test_after_the_deadline_nothing_starts(
    calls: list[Cell], person: Person, settings: Settings, tmp_path: Path
) -> None:
    where = pool.Where(tmp_path, deadline=time.monotonic() - 1)
    assert pool.run_cells([(person, CELLS[0])], settings, where) == 0
    assert calls == []


def test_a_cluster_needs_ray(
    person: Person, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingBackendError, match="everface\\[cluster\\]"):
        pool.run_cells([(person, CELLS[0])], settings, pool.Where(tmp_path, cluster=True))


class FakeRay:
    """Ray's few functions in this process."""

    def __init__(self) -> None:
        self.started, self.stored = False, 0

    def is_initialized(self) -> bool:
        return self.started

    def init(self, **_: object) -> None:
        self.started = True

    def put(self, value: object) -> object:
        self.stored += 1
        return value

    def remote(self, **_: object):  # type: ignore[no-untyped-def]
        class Remote:
            def __init__(self, work) -> None:  # type: ignore[no-untyped-def]
                self.work = work

            def remote(self, *arguments: object) -> object:
                return lambda: self.work(*arguments)

        return Remote

    def wait(self, running: list[object], **_: object) -> tuple[list[object], list[object]]:
        return running[:1], running[1:]

    def get(self, one):  # type: ignore[no-untyped-def]
        return one()


def test_a_cluster_gets_the_same_cells(
    calls: list[Cell], person: Person, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeRay()
    monkeypatch.setitem(__import__("sys").modules, "ray", fake)
    tasks = [(person, one) for one in CELLS]
    assert pool.run_cells(tasks, settings, pool.Where(tmp_path, cluster=True)) == 2
    assert calls == list(CELLS)
    assert fake.stored == 1
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
