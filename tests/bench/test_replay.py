"""The command: which cells, where tables go, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from everface.bench import replay as bench
from everface.bench.protocol import LOSS
from everface.bench.replay_experiment import people
from everface.bench.replay_experiment.cells import Cell, Lab
from everface.bench.replay_experiment.encode import Settings
from everface.engine.config import InvertConfig, TuneConfig
from everface.engine.errors import NothingToDoError, UsageError


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
    ours = "base@-" if preset.startswith("3d") else bench.OURS[0]
    assert {"lower@-", "upper@-", "er-rand@b=3", "er-hull@b=3", ours} <= labels


def test_the_papers_evaluation_is_another_setting() -> None:
    ours = bench.Options("full").plan.settings
    papers = bench.Options("full", paper_evaluation=True).plan.settings
    assert (papers.evaluate.steps, papers.evaluate.learning_rate) == (800, 5e-3)
    assert papers.key() != ours.key()
    assert papers.tune == ours.tune
    assert bench.Options("full", seeds=1, methods=("lower@-",)).plan.methods == ("lower@-",)


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
        str(tiny_base), "2d", 2, 6, 2, 16, InvertConfig(2), TuneConfig(max_steps=3, settle_window=0),
        evaluate=InvertConfig(2), samples=3,
    )  # fmt: skip


def test_from_album_to_report(quick: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded album, all of the paper's methods and ours: the files and rows that a user gets."""

    lab = Lab(quick, None, tmp_path / "lab")
    lab.__dict__.update(judge=("coarse", coarse), distance=None)
    monkeypatch.setattr("everface.bench.replay_experiment.pool._lab", lambda *_: lab)
    monkeypatch.setattr(bench, "SHARED", tmp_path / "none")
    monkeypatch.setitem(bench.PRESETS, "default", replace(bench.PRESETS["default"], settings=quick))
    options = bench.Options(out=tmp_path / "run", processes=1)
    result = bench.run(options=options)
    first = result.rows[0]
    assert (first.case, first.metric, first.unit) == ("best bytes", "forgetting", LOSS)
    assert result.about["timelines"] == {"synthetic": [2, 6, 2]}
    assert result.about["judges"] == ["coarse"]
    for name in ("curves.png", "matrices.png"):
        assert (tmp_path / "run" / name).stat().st_size > 500
    assert bench.run(options=replace(options, minutes=0.0)).rows == result.rows


def test_rows_of_nothing_are_refused(tmp_path: Path, quick: Settings) -> None:
    with pytest.raises(NothingToDoError, match="finished cell"):
        bench.results_of((Cell("a", 0, "lower", "-"),), tmp_path, quick)
