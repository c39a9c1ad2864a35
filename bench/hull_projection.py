"""Projection onto a hull beside the solvers that a user could pick: throughput, processor time and duality gap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.bench.baselines.hull_solvers import SOLVERS, Solver
from everface.bench.checkpoint import Checkpoint
from everface.bench.common import Row, installed, interleave, timed
from everface.engine.errors import NumericalError
from everface.engine.ops.hull.projection import ProjectOptions, project_to_hull
from everface.engine.progress import OnProgress, ProgressReporter

DIMENSIONS = 512
PLACES = ("outside", "inside", "on")
ROUNDING = 1e-13
TOLERANCES = {"float64": (1e-8, 1e-10, 1e-12, 1e-13), "float32": (1e-5,)}
TOUCHING = {"float64": 1e-6, "float32": 1e-3}
# Queries by vertices, of 10,000: fewer where each takes longer, but to prepare 512 vertices takes as long as hundreds.
VERTICES = {10: 4000, 50: 2000, 200: 500, 512: 2000}
Array = NDArray[Any]


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        repeats: runs of each, interleaved.
        budget: seconds of one run of a peer.
        queries: see VERTICES for the share of them that is projected.
    """

    repeats: int
    budget: float
    queries: int


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

    What is below 1e-13 is rounding, and counts as 1e-13 for all alike; weights that are not finite have a gap of 1.
    """
    q, v, w = (np.asarray(a, dtype=np.float64) for a in (queries, vertices, weights))
    w = np.maximum(w, 0)
    total = w.sum(axis=1, keepdims=True)
    if not (np.isfinite(w).all() and (total > 0).all()):
        return 1.0
    w = w / total
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
        seconds = timed(partial(solve, queries[:n], vertices))[1].median
        if seconds * 2 > budget:
            return n
        n = min(len(queries), max(2 * n, int(0.5 * n * budget / max(seconds, 1e-9))))
    return n


def _ours(queries: Array, vertices: Array, gap: float) -> tuple[Callable[[], object], float]:
    """Our projection at the loosest tolerance whose gap is no larger than the peer's, or at the tightest; its gap."""
    dtype = vertices.dtype.name
    options, reached = ProjectOptions(threads=2), 1.0
    for tolerance in TOLERANCES[dtype]:
        tried = ProjectOptions(tolerance=tolerance, threads=2)
        try:
            weights = project_to_hull(queries, vertices, options=tried).weights
        except NumericalError:
            break  # tighter than rounding lets it be
        options, reached = tried, duality_gap(queries, vertices, np.asarray(weights), TOUCHING[dtype])
        if reached <= gap:
            break
    return partial(project_to_hull, queries, vertices, options=options), reached


def _peers(dtype: str) -> dict[str, tuple[Solver, str]]:
    """Peers by name with the type that they compute in: those that have the type, and beside float32 all in float64."""
    own = {name: (solver, dtype) for name, solver in SOLVERS.items() if dtype in solver.types}
    if dtype == "float64":
        return own
    return own | {f"{name}-float64": (solver, "float64") for name, solver in SOLVERS.items()}


def _peer_rows(case: str, peer: str, arrays: tuple[Array, Array], effort: Effort) -> list[Row]:
    queries, vertices = arrays
    dtype = vertices.dtype.name
    solver, type_of_peer = _peers(dtype)[peer]
    theirs = vertices.astype(type_of_peer)
    few = queries.astype(type_of_peer)
    few = few[: _fitting(solver, few, theirs, effort.budget)]
    gap = duality_gap(few, theirs, solver.solve(few, theirs), TOUCHING[dtype])
    run, our_gap = _ours(queries, vertices, gap)
    timing = interleave({"ours": run, "theirs": partial(solver.solve, few, theirs)}, effort.repeats, warm=False)
    ours, other = timing["ours"], timing["theirs"]
    rate, each = len(queries) / ours.median, 1e6 / len(queries)
    throughput = Row(
        case, "throughput", rate, "queries/s", repeats=effort.repeats, spread=rate * ours.spread / ours.median
    )
    busy = ours.processor.row(case, "us/query", each, "processor time")
    return [
        throughput.beside(peer, len(few) / other.median, higher=True),
        busy.beside(peer, 1e6 * other.processor.median / len(few)),
        Row(case, "gap", our_gap, "largest relative duality gap").beside(peer, gap),
    ]


def projection_rows(case: str, queries: Array, vertices: Array, effort: Effort) -> list[Row]:
    """Throughput, processor time and gap beside each peer; ours alone beside one that is not installed.

    In float64 ours runs at a gap no larger than the peer's. In float32 it runs at its own tolerance; peers that have no
    float32, or a poor one, get the numbers as float64 and are called ``NAME-float64``.
    """
    rows = []
    for peer, (solver, _) in _peers(vertices.dtype.name).items():
        if installed(*solver.packages):
            run, _ = _ours(queries, vertices, 1.0)
            mine = interleave({"ours": run}, effort.repeats)["ours"]
            rows.append(Row(case, "throughput", len(queries) / mine.median, "queries/s", peer, repeats=effort.repeats))
        else:
            rows += _peer_rows(case, peer, (queries, vertices), effort)
    return rows


def projections(effort: Effort, on_progress: OnProgress, checkpoint: Checkpoint) -> list[Row]:
    """All sizes, places and types, 512 dimensions, two threads."""
    reporter = ProgressReporter("projection", 2 * len(VERTICES) * len(PLACES), on_progress)
    rows = []
    for dtype in ("float64", "float32"):
        for m, share in VERTICES.items():
            rng = np.random.default_rng(m)
            vertices = rng.normal(size=(m, DIMENSIONS)).astype(dtype)
            n = max(200, effort.queries * share // 10_000)
            for place in PLACES:
                case = f"{dtype} m={m} {place}"
                queries = make_queries(place, vertices, n, rng).astype(dtype)
                rows += checkpoint.rows(case, partial(projection_rows, case, queries, vertices, effort))
                reporter.advance()
    return rows
