"""`bench hull`: rows keep the contract, the authors' procedure gives the same score, a cut-off run goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from everface.bench import hull_projection, hull_selection
from everface.bench.baselines.er_hull_authors import authors_score
from everface.bench.baselines.hull_solvers import SOLVERS
from everface.bench.checkpoint import Checkpoint
from everface.bench.common import Row, installed
from everface.bench.hull import latency_rows, run
from everface.bench.hull_projection import PLACES, Effort, duality_gap, make_queries, projection_rows
from everface.bench.hull_selection import SelectionCase, album_pool, select_against_authors
from everface.engine.ops.hull.projection import project_to_hull
from everface.engine.ops.hull.scores import PoolScorer
from everface.engine.replay.policies.candidates import candidates

TINY = SelectionCase("tiny", (2, 4), 3, 3, dimensions=24)


def hull(m: int = 6, d: int = 15) -> np.ndarray:
    return np.random.default_rng(m).normal(size=(m, d))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", SOLVERS)
def test_peers_solve_the_same_problem(name: str, place: str) -> None:
    solver = SOLVERS[name]
    if missing := installed(*solver.packages):
        pytest.skip(f"{missing} is not installed")
    vertices = hull()
    queries = make_queries(place, vertices, 4, np.random.default_rng(1))
    weights = np.maximum(solver.solve(queries, vertices), 0)
    theirs = np.linalg.norm(queries - weights / weights.sum(axis=1, keepdims=True) @ vertices, axis=1)
    ours = project_to_hull(queries, vertices)
    assert np.allclose(theirs, ours.distance, atol=2e-3)  # interior points stop that far from a face
    assert duality_gap(queries, vertices, np.asarray(ours.weights), 1e-6) <= 1e-8


def test_gap_is_that_of_the_weights() -> None:
    vertices = np.eye(3)
    query = np.array([[1.0, 1.0, 0.0]])
    best = np.array([[0.5, 0.5, 0.0]])
    assert duality_gap(query, vertices, best, 1e-6) == hull_projection.ROUNDING
    # At the first vertex r = (0, 1, 0): |r|^2 = 1 and the slack is r.(v_2 - v_1) = 1, so nothing is certified.
    assert duality_gap(query, vertices, np.array([[1.0, 0.0, 0.0]]), 1e-6) == pytest.approx(1.0)
    assert duality_gap(query, vertices, np.full((1, 3), np.nan), 1e-6) == 1.0
    assert duality_gap(query, vertices, np.zeros((1, 3)), 1e-6) == 1.0


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_projection_rows_stand_beside_peers(dtype: str) -> None:
    vertices = hull().astype(dtype)
    queries = make_queries("outside", vertices, 20, np.random.default_rng(0)).astype(dtype)
    rows = projection_rows(f"{dtype} m=6 outside", queries, vertices, Effort(2, 0.002, 20))
    throughput = [row for row in rows if row.metric == "throughput"]
    names = {row.peer for row in throughput}
    assert names == (
        set(SOLVERS) if dtype == "float64" else {"spams", "spams-float64", "daqp-float64", "quadprog-float64"}
    )
    for row in throughput:
        assert row.unit == "queries/s" and row.value > 0
        absent = installed(*SOLVERS[str(row.peer).removesuffix("-float64")].packages)
        assert (row.ratio is None) == (absent is not None)
    if dtype == "float64":
        assert all(row.value <= max(row.peer_value or 0, 1e-8) for row in rows if row.metric == "gap")


def test_authors_score_is_ours() -> None:
    for sizes, count in (((2, 5), 2), ((2, 4), 3), ((1, 2, 3), 4)):
        pool = album_pool(sizes, 30, 1)
        rows = candidates(pool.groups, count, np.random.default_rng(0))[:8]
        ours = PoolScorer(pool.latents, pool.groups, pool.spread).scores(rows)
        theirs = [authors_score(pool.latents, pool.groups, row, pool.spread) for row in rows]
        # Their minimiser stops at 1e-6 of the objective; it cannot be below the optimum.
        assert np.allclose(theirs, ours, rtol=2e-3)
        assert (np.array(theirs) >= ours * (1 - 1e-6)).all()


def test_selection_rows_keep_the_contract() -> None:
    time, score, same = select_against_authors(TINY)
    assert "select" in time.case and (time.metric, time.unit, time.peer) == ("time", "s", "authors-scipy")
    assert time.repeats == 3 and time.ratio is not None and time.ratio > 1
    assert (score.metric, score.peer) == ("score", "authors-scipy") and score.ratio is not None
    assert score.ratio > 1 - 1e-9  # never a worse subset than theirs
    assert 0 <= same.value <= 1
    scaled = select_against_authors(SelectionCase("part", (2, 4), 3, 1, 2, dimensions=24))[0]
    assert "2 candidates scaled linearly to 5000" in scaled.case


def test_a_run_that_was_cut_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "part.jsonl"
    select_against_authors(SelectionCase("tiny", TINY.sizes, 3, 2, dimensions=24), checkpoint=Checkpoint(file))
    with file.open("a") as half:
        half.write('\n{"key": "select (2, 4) 3 None 24 seed 2", "val')
    measured = []
    original = hull_selection._one_pool
    monkeypatch.setattr(
        hull_selection, "_one_pool", lambda case, seed: (measured.append(seed), original(case, seed))[1]
    )
    rows = select_against_authors(TINY, checkpoint=Checkpoint(file))
    assert measured == [2] and rows[0].repeats == 3
    again = select_against_authors(TINY, checkpoint=Checkpoint(file))
    assert measured == [2] and again == rows


def test_rows_come_back_from_a_checkpoint(tmp_path: Path) -> None:
    row = Row("x", "time", 1.0, "s", "spams", 2.0, 2.0, 3, 0.1)
    file = tmp_path / "rows.jsonl"
    assert Checkpoint(file).rows("k", lambda: [row]) == [row]
    assert Checkpoint(file).rows("k", lambda: []) == [row]
    assert Checkpoint().rows("k", lambda: []) == []


def test_latency_rows_are_of_every_way_to_call() -> None:
    rows = latency_rows(3)
    cases = {row.case for row in rows}
    assert {case.rsplit(", ", 1)[1] for case in cases} == {"numpy", "torch", "hull prepared"}
    assert all(row.unit == "us/query" and row.value > 0 for row in rows)


@pytest.mark.slow
def test_the_preset_names_every_part() -> None:
    text = " ".join(row.case for row in run())
    for part in (
        "one query",
        "float64 m=512 on",
        "float32 m=10 outside",
        "select pool 23 b 3",
    ):
        assert part in text
