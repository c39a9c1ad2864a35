"""One cell on a tiny generator: all pairs judged, bytes kept to, the same again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from everface.bench.protocol import INDEPENDENT, METRICS
from everface.bench.replay_experiment.cells import Cell, Lab, run_cell
from everface.bench.replay_experiment.people import Person
from everface.engine.metrics.forgetting import forgetting
from everface.engine.photos.camera import orbit

NAMES = ("lower@-", "er-hull@b=3", "lower/distil@16KiB", "budgeted/distil@16KiB", "upper@-", "cumulative@-", "base@-")
LAST_ALONE = ("upper@-", "base@-")


def cell(name: str, seed: int = 1) -> Cell:
    method, buffer = name.split("@")
    return Cell("someone", seed, method, buffer)


@pytest.fixture(scope="module")
def results(lab: Lab, person: Person) -> dict[str, dict[str, Any]]:
    return {name: run_cell(lab, person, cell(name)) for name in NAMES}


def matrix(result: dict[str, Any], name: str = "MobileNetV2 distance + MSE") -> np.ndarray:
    return np.array(result["matrices"][name], float)


def test_every_pair_is_judged_by_every_metric(results: dict[str, dict[str, Any]]) -> None:
    for name, result in results.items():
        assert set(result["matrices"]) == set(METRICS) - {INDEPENDENT}
        for metric in result["matrices"]:
            for t, row in enumerate(matrix(result, metric)):
                judged = t == 2 or name not in LAST_ALONE
                assert np.isfinite(row[: t + 1]).all() == judged
                assert np.isnan(row[t + 1 :]).all()


def test_all_start_from_one_model(results: dict[str, dict[str, Any]]) -> None:
    assert len({matrix(one)[0, 0] for name, one in results.items() if name not in LAST_ALONE}) == 1


def test_cumulative_training_ends_at_the_upper_bound(results: dict[str, dict[str, Any]]) -> None:
    np.testing.assert_array_equal(matrix(results["cumulative@-"])[2], matrix(results["upper@-"])[2])
    assert matrix(results["cumulative@-"])[1, 1] != matrix(results["lower@-"])[1, 1]


def test_memory_in_photos_and_in_codes_helps(results: dict[str, dict[str, Any]]) -> None:
    forgot = {
        name: forgetting(matrix(one), higher_is_better=False)
        for name, one in results.items()
        if name not in (*LAST_ALONE, "cumulative@-")
    }
    assert all(forgot[name] < 0.8 * forgot["lower@-"] for name in forgot if name != "lower@-")


def test_bytes_are_counted_and_kept_to(results: dict[str, dict[str, Any]]) -> None:
    assert results["lower@-"]["photo_bytes"] == results["lower@-"]["code_bytes"] == [0, 0, 0]
    assert results["lower/distil@16KiB"]["photo_bytes"] == [0, 0, 0]
    for name in ("lower/distil@16KiB", "budgeted/distil@16KiB"):
        numbers = results[name]
        assert all(0 < a + b <= 16 * 1024 for a, b in zip(numbers["photo_bytes"], numbers["code_bytes"], strict=True))
    assert [len(one) for one in results["er-hull@b=3"]["kept"]] == [3, 3, 3]


def test_the_same_cell_again_is_the_same(
    lab: Lab, person: Person, results: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    fresh = Lab(lab.settings, None, tmp_path)
    fresh.__dict__.update(backend=lab.backend, judge=lab.judge, distance=None)
    again = run_cell(fresh, person, cell("budgeted/distil@16KiB"))
    assert again["matrices"] == results["budgeted/distil@16KiB"]["matrices"]
    assert again["kept"] == results["budgeted/distil@16KiB"]["kept"]


@pytest.mark.parametrize("name", ["er-rand/by-loss@b=3", "er-hull-exact/distil@b=3", "forgotten@b=3"])
def test_other_methods_run(lab: Lab, person: Person, results: dict[str, dict[str, Any]], name: str) -> None:
    found = run_cell(lab, person, cell(name))
    assert np.isfinite(matrix(found)[2]).all()
    assert not np.array_equal(matrix(found)[1:], matrix(results["er-hull@b=3"])[1:])


def test_files_of_cells_are_distinct() -> None:
    cells = [cell(name, seed) for name in (*NAMES, "er-hull@b=31", "er-hull/distil@b=3") for seed in (0, 1)]
    assert len({one.file for one in cells}) == len(cells)
    assert all("/" not in one.file for one in cells)


def test_in_3d_each_photo_has_its_own_camera(lab: Lab, person: Person, tiny_3d: Path, tmp_path: Path) -> None:
    posed = Lab(replace(lab.settings, base=str(tiny_3d), dimension="3d", samples=2), None, tmp_path)
    posed.__dict__.update(judge=lab.judge, distance=None)
    cameras = np.concatenate([orbit(yaw, pitch) for yaw, pitch in person.pose])
    found = run_cell(posed, replace(person, cameras=cameras), cell("er-hull@b=3"))
    assert np.isfinite(matrix(found)[2]).all()
    codes = posed.encoded(replace(person, cameras=cameras), 1).batches[0].train.codes
    assert codes.shape[1] == posed.backend.shape.w_dim + 25
    assert found["dimension"] == "3d" and found["processor_seconds"] > 0
