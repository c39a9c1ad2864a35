"""``everface bench hull``: projection against solvers a user could pick, selection against the authors' procedure."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.bench.baselines.hull_solvers import SOLVERS, Solver
from everface.bench.common import BenchResult, Row, compare, installed, interleave, machine, write_json
from everface.bench.hull_growth import growth, plot_growth
from everface.bench.hull_selection import SelectionCase, better_optima, large_pool, select_against_authors
from everface.engine.ops.hull import Hull, ProjectOptions, project_to_hull
from everface.engine.progress import OnProgress, Progress, ProgressReporter, ignore_progress

__all__ = ["duality_gap", "run"]

DIMENSIONS = 512
ROUNDING = 1e-13
PLACES = ("outside", "inside", "on")
VERTICES = (10, 50, 200, 512)
Array = NDArray[Any]


@dataclass(frozen=True)
class _Plan:
    """How much of everything."""

    repeats: int
    budget: float  # seconds of one run of a peer
    queries: int
    pools: int
    scored: int
    large: int
    million: int


_QUICK = _Plan(repeats=3, budget=0.05, queries=2000, pools=2, scored=2, large=0, million=20_000)
_FULL = _Plan(repeats=7, budget=0.3, queries=10_000, pools=50, scored=100, large=16, million=1_000_000)


def make_queries(place: str, vertices: Array, n: int, rng: np.random.Generator) -> Array:
    """Gaussian points (outside), uniform convex combinations (inside), or points of faces with five vertices (on)."""
    m, d = vertices.shape
    if place == "outside":
        return rng.normal(size=(n, d))
    if place == "inside":
        return rng.dirichlet(np.ones(m), n) @ vertices
    weights = np.zeros((n, m))
    for row in weights:
        row[rng.choice(m, 5, replace=False)] = rng.dirichlet(np.ones(5))
    return weights @ vertices


def duality_gap(queries: Array, vertices: Array, weights: Array, touching: float) -> float:
    """The largest relative duality gap of clipped, normalised weights, by plain NumPy in float64 for every solver.

    What is below 1e-13 is rounding, and counts as 1e-13 for all alike.
    """
    q, v, w = (np.asarray(a, dtype=np.float64) for a in (queries, vertices, weights))
    w = np.maximum(w, 0)
    w = w / w.sum(axis=1, keepdims=True)
    centre = v.mean(axis=0)
    q, v = q - centre, v - centre
    r = q - w @ v
    distance2 = (r**2).sum(axis=1)
    slack = np.maximum((r @ v.T).max(axis=1) - (r * (w @ v)).sum(axis=1), 0.0)
    ratio = np.minimum(slack / np.maximum(distance2, 1e-300), 1.0)
    floor = touching**2 * (v**2).sum(axis=1).max()
    return max(ROUNDING, float((distance2 * ratio * (2 - ratio) / np.maximum(distance2, floor)).max()))


def _fitting(solver: Solver, queries: Array, vertices: Array, budget: float) -> int:
    """How many queries the peer can take within the budget; a batched one gets enough to hide its start."""
    n = max(20, min(500, 10_000 // len(vertices))) if solver.batched else 1
    solve = solver.solve
    solve(queries[:1], vertices)
    while n < len(queries):
        start = time.perf_counter()
        solve(queries[:n], vertices)
        seconds = time.perf_counter() - start
        if seconds * 2 > budget:
            return n
        n = min(len(queries), max(2 * n, int(0.5 * n * budget / max(seconds, 1e-9))))
    return n


def _projection_rows(case: str, queries: Array, vertices: Array, plan: _Plan) -> list[Row]:
    dtype = vertices.dtype.name
    touching = 1e-3 if dtype == "float32" else 1e-6
    options = ProjectOptions(threads=2)
    ours_weights = project_to_hull(queries, vertices, options=options).weights
    our_gap = duality_gap(queries, vertices, np.asarray(ours_weights), touching)
    rows = []
    for name, solver in SOLVERS.items():
        if dtype not in solver.types:
            continue
        if installed(*solver.packages):
            alone = interleave({"ours": partial(project_to_hull, queries, vertices, options=options)}, plan.repeats)
            rate = len(queries) / alone["ours"].median
            rows.append(Row(case, "throughput", rate, "queries/s", name, repeats=plan.repeats))
            continue
        n = _fitting(solver, queries, vertices, plan.budget)
        few = queries[:n]
        gap = duality_gap(few, vertices, solver.solve(few, vertices), touching)
        timing = interleave(
            {
                "ours": partial(project_to_hull, queries, vertices, options=options),
                name: partial(solver.solve, few, vertices),
            },
            plan.repeats,
            warm=False,
        )
        rate, theirs = len(queries) / timing["ours"].median, n / timing[name].median
        spread = rate * timing["ours"].spread / timing["ours"].median
        rows.append(compare(case, "throughput", rate, "queries/s", peer=name, theirs=theirs, lower_is_better=False,
                            repeats=plan.repeats, spread=spread))  # fmt: skip
        rows.append(compare(case, "gap", our_gap, "largest relative duality gap", peer=name, theirs=gap,
                            lower_is_better=True))  # fmt: skip
    return rows


def _all_projections(plan: _Plan, on_progress: OnProgress) -> list[Row]:
    reporter = ProgressReporter("projection", 2 * len(VERTICES) * len(PLACES), on_progress)
    rows = []
    for dtype in ("float64", "float32"):
        for m in VERTICES:
            rng = np.random.default_rng(m)
            vertices = rng.normal(size=(m, DIMENSIONS)).astype(dtype)
            for place in PLACES:
                n = plan.queries if m <= 50 else plan.queries // 4
                queries = make_queries(place, vertices, n, rng).astype(dtype)
                rows += _projection_rows(f"{dtype} m={m} {place}", queries, vertices, plan)
                reporter.advance()
    return rows


def _each(call: Callable[[Array], object], queries: Array) -> None:
    for query in queries:
        call(query)


def _latency_rows(repeats: int) -> list[Row]:
    """One query at m = 50, end to end from Python."""
    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(50, DIMENSIONS))
    queries = rng.normal(size=(200, 1, DIMENSIONS))
    options = ProjectOptions(threads=1)
    hull = Hull(vertices, options=options)
    rows = []
    runs: dict[str, Callable[[Array], object]] = {
        "one query, hull prepared": hull.project,
        "one query, hull not prepared": partial(project_to_hull, vertices=vertices, options=options),
    }
    for case, call in runs.items():
        timing = interleave({"ours": partial(_each, call, queries)}, repeats)["ours"]
        per_query = 1e6 / len(queries)
        rows.append(Row(f"float64 m=50 {case}", "latency", timing.median * per_query, "us/query", repeats=repeats,
                        spread=timing.spread * per_query))  # fmt: skip
    return rows


def _million_row(total: int) -> Row:
    """float32, 200 vertices: the queries come in blocks and results are distances and sparse weights."""
    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(200, DIMENSIONS)).astype(np.float32)
    hull = Hull(vertices, options=ProjectOptions(weights="sparse", threads=2))
    seconds, block = 0.0, 20_000
    queries = rng.standard_normal((block, DIMENSIONS), dtype=np.float32)
    for at in range(0, total, block):
        # Other queries each time, at the price of a multiplication rather than of new random numbers.
        part = queries * np.float32(0.7 + 0.6 * at / total)
        start = time.perf_counter()
        hull.project(part)
        seconds += time.perf_counter() - start
    return Row(f"float32 m=200 outside, {total} queries, 2 threads", "time", seconds, "s")


def run(full: bool = False, on_progress: OnProgress = ignore_progress) -> BenchResult:
    """Runs the benchmark: within minutes by default, about an hour or two with ``full``."""
    plan = _FULL if full else _QUICK
    rows = _latency_rows(plan.repeats)
    rows.append(_million_row(plan.million))
    rows += _all_projections(plan, on_progress)
    rows += growth(plan.repeats if full else 1)
    for sizes in ((10, 20), (5, 5, 20)):
        rows += better_optima(sizes, 10, plan.pools if full else 5)
    if plan.large:
        rows += large_pool(plan.large)
    rows += _authors_rows(plan, on_progress)
    missing = tuple(name for name, solver in SOLVERS.items() if installed(*solver.packages))
    return BenchResult("hull", tuple(rows), machine(), missing)


def _authors_rows(plan: _Plan, on_progress: OnProgress) -> list[Row]:
    cases = (
        SelectionCase("pool 23 b 3, 61 distinct candidates, d 9216", (1, 1, 1, 20), 3, plan.pools),
        SelectionCase("pool 30 b 10, d 9216", (10, 20), 10, plan.pools, plan.scored),
    )
    return [row for case in cases for row in select_against_authors(case, on_progress)]


def main(arguments: list[str] | None = None) -> int:
    """``python -m everface.bench.hull [--full] [--json FILE] [--plot FILE]``."""
    parser = argparse.ArgumentParser(prog="python -m everface.bench.hull", description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    chosen = parser.parse_args(arguments)

    def show(progress: Progress) -> None:
        sys.stderr.write(f"{progress.stage} {progress.done}/{progress.total}\n")

    result = run(chosen.full, show)
    if chosen.json:
        write_json(result, chosen.json)
    if chosen.plot:
        plot_growth(list(result.rows), chosen.plot)
    for row in result.rows:
        beside = "" if row.ratio is None else f"  {row.ratio:8.2f}x {row.peer} ({row.peer_value:.4g})"
        sys.stdout.write(f"{row.case:60s} {row.metric:11s} {row.value:12.5g} {row.unit}{beside}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
