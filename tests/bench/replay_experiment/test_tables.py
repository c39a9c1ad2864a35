"""Statistics and rows of known numbers; plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from everface.bench.protocol import IDENTITY, INDEPENDENT, LOSS, METRICS
from everface.bench.replay_experiment.cells import Cell
from everface.bench.replay_experiment.plots import mean_matrices, plot_curves, plot_matrices
from everface.bench.replay_experiment.statistics import interval_of, paired_test
from everface.bench.replay_experiment.tables import BEST_BYTES, gather, peer_of, rows_of

HULL = "er-hull@b=3"


def told(drop: float, upper: bool = False) -> dict[str, Any]:
    """Two timestamps; the last model is worse on the first one by ``drop``."""
    matrices = {}
    for metric, higher in METRICS.items():
        sign = -1 if higher else 1
        matrices[metric] = [[None if upper else 0.5, None], [0.5 + sign * drop, 0.5]]
    return {
        "matrices": matrices, "photo_bytes": [100, 300], "code_bytes": [0, 50], "timestamps": 2, "train": 4, "test": 2,
        "judge": "dlib", "spread": {"within": 1.0, "between": 2.0, "chance": 1.8},
    }  # fmt: skip


@pytest.fixture
def cells() -> dict[Cell, dict[str, Any]]:
    found = {}
    for person, more in (("a", 0.0), ("b", 0.02), ("c", 0.01)):
        for name, drop, upper in ((HULL, 0.1, False), (BEST_BYTES, 0.04, False), ("upper@-", 0.0, True)):
            method, buffer = name.split("@")
            found[Cell(person, 0, method, buffer)] = told(drop + more * (name == HULL), upper)
    return found


def test_an_interval_is_over_people() -> None:
    found = interval_of({("a", 0): 1.0, ("a", 1): 3.0, ("b", 0): 4.0, ("c", 0): 3.0})
    assert (found.mean, found.people, found.runs) == (3.0, 3, 4)
    assert found.half == pytest.approx(stats.t.ppf(0.975, 2) * 1.0 / np.sqrt(3))
    assert np.isnan(interval_of({("a", 0): 1.0}).half)


def test_pairs_are_compared_on_what_both_have() -> None:
    ours = {(name, 0): value for name, value in zip("abcd", (1.0, 2.0, 3.0, 4.0), strict=True)}
    theirs = {(name, 0): value for name, value in zip("abcde", (2.0, 2.5, 4.5, 4.1, 9.0), strict=True)}
    found = paired_test(ours, theirs)
    assert found is not None
    assert found.difference.mean == pytest.approx(-0.775)
    assert found.difference.runs == 4
    assert found.p_flip == pytest.approx(2 / 16)
    assert found.p_t == pytest.approx(stats.ttest_rel([1, 2, 3, 4], [2, 2.5, 4.5, 4.1]).pvalue)
    assert paired_test(ours, {}) is None


def test_the_headline_is_the_first_row(cells: dict[Cell, dict[str, Any]]) -> None:
    rows = rows_of(gather(cells))
    first = rows[0]
    assert (first.case, first.metric, first.peer, first.unit) == ("best bytes", "forgetting", "er-hull", INDEPENDENT)
    assert first.value == pytest.approx(0.04)
    assert first.peer_value == pytest.approx(0.11)
    assert first.ratio == pytest.approx(0.11 / 0.04)
    assert first.repeats == 3
    bound = next(row for row in rows if row.case == "best bytes" and row.peer == "upper")
    assert bound.ratio == pytest.approx(0.5 / 0.51)
    last = next(row for row in rows if row.case == "best bytes" and row.metric == "last model beside the upper bound")
    assert (last.value, last.peer_value) == (pytest.approx(0.52), pytest.approx(0.5))
    size = next(row for row in rows if row.case == "best bytes" and row.metric == "bytes")
    assert size.value == 350


def test_an_average_over_time_stands_beside_one(cells: dict[Cell, dict[str, Any]]) -> None:
    for person in "abc":
        cells[Cell(person, 0, "cumulative", "-")] = told(0.01)
    rows = rows_of(gather(cells))
    row = next(row for row in rows if row.case == "best bytes" and row.metric == "AIP beside cumulative training")
    assert (row.value, row.peer_value) == (pytest.approx(0.51), pytest.approx(0.5025))
    own = {row.metric for row in rows if row.case == "cumulative"}
    assert {"forgetting", "AIP"} <= own
    assert not [metric for metric in own if "beside" in metric or metric == "bytes"]


def test_each_buffer_has_its_own_peer(cells: dict[Cell, dict[str, Any]]) -> None:
    for method, buffer in (("er-hull", "b=5"), ("er-rand", "b=5"), ("er-rand", "16KiB"), ("er-hull", "3png")):
        cells[Cell("a", 0, method, buffer)] = told(0.2 if method == "er-hull" else 0.3)
    results = gather(cells)
    told_peers = {
        label: peer_of(results, label) for label in ("er-rand@b=5", "er-rand@16KiB", "er-rand@3png", BEST_BYTES)
    }
    assert told_peers == {"er-rand@b=5": "er-hull@b=5", "er-rand@16KiB": HULL, "er-rand@3png": HULL, BEST_BYTES: HULL}
    row = next(row for row in rows_of(results) if row.case == "er-rand b=5" and row.metric == "forgetting")
    assert (row.value, row.peer_value) == (pytest.approx(0.3), pytest.approx(0.2))


@pytest.mark.parametrize(("ours", "theirs"), [(0.45, 0.6), (0.6, 0.45), (0.4, 0.45)])
def test_negative_forgetting_has_no_quotient(cells: dict[Cell, dict[str, Any]], ours: float, theirs: float) -> None:
    for cell, one in cells.items():
        if cell.method != "upper":
            last = ours if cell.method == BEST_BYTES.partition("@")[0] else theirs
            one["matrices"][INDEPENDENT] = [[0.5, None], [last, 0.5]]
    rows = {row.metric: row for row in rows_of(gather(cells)) if row.case == "best bytes"}
    assert rows["forgetting"].value == pytest.approx(ours - 0.5)
    assert rows["forgetting"].ratio is None
    assert rows["forgetting beyond er-hull's"].value == pytest.approx(ours - theirs)


def test_in_3d_methods_stand_beside_the_base(cells: dict[Cell, dict[str, Any]]) -> None:
    for person in "abc":
        cells[Cell(person, 0, "base", "-")] = told(0.3, upper=True)
    for one in cells.values():
        one |= {"dimension": "3d", "processor_seconds": 10.0}
    rows = [row for row in rows_of(gather(cells)) if row.case == "er-hull b=3"]
    (beside,) = (row for row in rows if row.metric == "AIP beside the base, ID of samples")
    assert (beside.peer, beside.unit) == ("base", IDENTITY)
    assert beside.ratio is not None and beside.ratio > 1
    assert next(row for row in rows if row.metric == "time").value == 10.0


def test_without_independent_features_the_loss_is_named(cells: dict[Cell, dict[str, Any]]) -> None:
    for one in cells.values():
        del one["matrices"][INDEPENDENT]
    assert rows_of(gather(cells))[0].unit == LOSS


def test_a_person_whose_timeline_ends_changes_no_mean(cells: dict[Cell, dict[str, Any]]) -> None:
    """A short timeline stays at 0.5 and a long one at 0.9: no curve may rise where the short one ends."""
    for person, level, length in (("a", 0.5, 2), ("b", 0.9, 3)):
        matrix = [[level if k <= t else None for k in range(length)] for t in range(length)]
        cells[Cell(person, 0, "er-hull", "b=3")]["matrices"][INDEPENDENT] = matrix
    results = gather({cell: one for cell, one in cells.items() if cell.person != "c" and cell.method == "er-hull"})
    plain = mean_matrices(results, [HULL])[HULL]
    np.testing.assert_allclose(plain[:, 0], [0.7, 0.7, 0.9])
    change = mean_matrices(results, [HULL], lambda matrix, _: matrix[:, :1] - matrix[0, 0])[HULL]
    np.testing.assert_allclose(change, np.zeros((3, 1)), atol=1e-12)


def test_plots(cells: dict[Cell, dict[str, Any]], tmp_path: Path) -> None:
    results = gather(cells)
    np.testing.assert_allclose(mean_matrices(results, [HULL])[HULL], [[0.5, np.nan], [0.61, 0.5]])
    plots = tmp_path / "curves.png", tmp_path / "matrices.png"
    plot_curves(results, [HULL, BEST_BYTES, "upper@-"], plots[0])
    plot_matrices(results, [HULL, BEST_BYTES, "upper@-"], plots[1])
    assert all(plot.stat().st_size > 500 for plot in plots)
