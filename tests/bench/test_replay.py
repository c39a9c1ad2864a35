"""The command: which cells, where tables go, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from everface.bench import replay as bench
from everface.bench.replay_experiment import people
from everface.bench.replay_experiment.cells import Cell, CellResult, Lab, run_cell
from everface.bench.replay_experiment.encode import Settings
from everface.bench.replay_experiment.growth import growth_rows, measure_growth
from everface.engine.config import InvertConfig, TuneConfig
from everface.engine.errors import NothingToDoError, UsageError
from everface.engine.learn.backend import Backend


def test_methods_of_a_person_come_before_the_next_person() -> None:
    cells = bench.cells_of(("a", "b"), 2, ("lower@-", "er-hull@b=3"))
    assert [(one.seed, one.person, one.method) for one in cells[:3]] == [
        (0, "a", "lower"), (0, "a", "er-hull"), (0, "b", "lower"),
    ]  # fmt: skip
    assert len(cells) == len(set(cells)) == 8


@pytest.mark.parametrize("wrong", ["er-hull", "lower@b=3", "er-hull@-", "er-hall@b=3"])
def test_methods_need_a_buffer_that_fits(wrong: str) -> None:
    with pytest.raises(UsageError):
        bench.cells_of(("a",), 1, (wrong,))


@pytest.mark.parametrize("preset", list(bench.PRESETS))
def test_presets_have_cells_and_the_headline(preset: str) -> None:
    one = bench.PRESETS[preset]
    cells = bench.cells_of(("a",), one.seeds, one.methods)
    labels = {f"{cell.method}@{cell.buffer}" for cell in cells}
    assert {"lower@-", "upper@-", "er-rand@b=3", "er-hull@b=3", bench.OURS[0]} <= labels


def test_unknown_presets_are_refused() -> None:
    with pytest.raises(UsageError, match="--preset"):
        bench.run(False, preset="small")


def test_the_papers_evaluation_is_another_setting() -> None:
    ours, _ = bench._options(["--full"])
    papers, _ = bench._options(["--full", "--paper-evaluation"])
    assert (papers.preset.settings.evaluate.steps, papers.preset.settings.evaluate.learning_rate) == (800, 5e-3)
    assert papers.preset.settings.key() != ours.preset.settings.key()
    assert papers.preset.settings.tune == ours.preset.settings.tune


def test_people_are_folders_those_with_most_photos_first(tmp_path: Path) -> None:
    for name, count in (("few", 1), ("many", 3)):
        (tmp_path / name).mkdir()
        for i in range(count):
            (tmp_path / name / f"{i}.jpg").touch()
    assert people.names_in(tmp_path) == ("many", "few")
    assert people.names_in(None) == ("synthetic",)
    for wrong in (tmp_path / "few", tmp_path / "none"):
        with pytest.raises(UsageError, match="albums"):
            people.names_in(wrong)


def coarse(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Stands in for a face network."""
    return images.reshape(len(images), -1)[:, ::17].astype(np.float32) + 1


@pytest.fixture(scope="module")
def quick(tiny_base: Path) -> Settings:
    return Settings(
        str(tiny_base), 2, 6, 2, 16, InvertConfig(2), TuneConfig(max_steps=3, settle_window=0),
        evaluate=InvertConfig(2), samples=3,
    )  # fmt: skip


def test_from_album_to_report(quick: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded album, all of the paper's methods and ours: the files and rows that a user gets."""

    def work(person: people.Person, cell: Cell, settings: Settings, judge: Path | None, folder: Path) -> CellResult:
        lab = Lab(settings, judge, folder)
        lab.__dict__.update(embed=coarse, distance=None)
        return run_cell(lab, person, cell)

    monkeypatch.setattr("everface.bench.replay_experiment.pool._work", work)
    monkeypatch.setattr(bench, "SHARED", tmp_path / "none")
    monkeypatch.setitem(bench.PRESETS, "default", replace(bench.PRESETS["default"], settings=quick))
    said: list[str] = []
    arguments = ["--out", str(tmp_path / "run"), "--processes", "1", "--json", str(tmp_path / "rows.json")]
    bench.main(arguments, said.append)
    told = json.loads((tmp_path / "rows.json").read_text())
    first = told["rows"][0]
    assert (first["case"], first["metric"], first["peer"]) == ("best bytes", "forgetting", "er-hull")
    assert told["machine"]["timelines"] == {"synthetic": [2, 6, 2]}
    assert "6 of 6 cells" in said[-1]
    for name in ("report.html", "table.md", "curves.png", "matrices.png"):
        assert (tmp_path / "run" / name).stat().st_size > 500
    again: list[str] = []
    bench.main([*arguments, "--tables"], again.append)
    assert again == said


def test_tables_of_nothing_are_refused(tmp_path: Path, quick: Settings) -> None:
    with pytest.raises(NothingToDoError, match="finished cell"):
        bench.results_of((Cell("a", 0, "lower", "-"),), tmp_path, quick)


def test_many_small_updates_stay_flat(quick_backend: Callable[..., Backend]) -> None:
    found = measure_growth(quick_backend(), updates=24)
    assert len(found.seconds) == 24
    assert max(found.kept_bytes) <= 16 * 1024
    time, memory, _ = growth_rows(found)
    assert time.ratio is not None and time.ratio > 0.4
    assert memory.ratio is not None and memory.ratio > 0.9
    assert np.isfinite(time.spread)
