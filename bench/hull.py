"""Projection onto a hull against solvers that a user could pick, selection against the authors' procedure.

The committed results come from ``OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive everface bench hull --full --checkpoint
hull.jsonl --json bench/results/hull.json``. One BLAS thread is the authors' procedure at its fastest; SPAMS and ours
take two threads of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.bench.checkpoint import Checkpoint
from everface.bench.common import Full, Listen, Row, joined, timed
from everface.bench.hull_projection import DIMENSIONS, Effort, projections
from everface.bench.hull_selection import SelectionCase, large_pool, select_against_authors
from everface.engine.ops.hull.projection import Hull, ProjectOptions, project_to_hull
from everface.engine.progress import ignore_progress

Array = NDArray[Any]


@dataclass(frozen=True)
class _Plan:
    """How much of everything: ``pools`` for each of the cases in ``_cases``."""

    effort: Effort
    calls: int
    pools: tuple[int, int, int, int, int]
    scored: int
    large: int


_QUICK = _Plan(Effort(3, 0.05, 2000), 300, (2, 2, 0, 0, 1), 2, 0)
_FULL = _Plan(Effort(5, 0.3, 10_000), 2000, (50, 50, 50, 20, 50), 100, 16)


def _cases(plan: _Plan) -> tuple[SelectionCase, ...]:
    """The paper's states for b = 3, by the distinct candidates that they have, and a larger buffer."""
    t4, t3, t2, t1, ten = plan.pools
    return (
        SelectionCase("pool 23 b 3, all 61 distinct candidates, d 9216", (1, 1, 1, 20), 3, t4),
        SelectionCase("pool 23 b 3, all 40 distinct candidates, d 9216", (1, 2, 20), 3, t3),
        SelectionCase("pool 23 b 3, all 630 distinct candidates, d 9216", (3, 20), 3, t2),
        SelectionCase("pool 20 b 3, all 1140 distinct candidates, d 9216", (20,), 3, t1),
        SelectionCase("pool 30 b 10, d 9216", (10, 20), 10, ten, plan.scored),
    )


def _latency(case: str, call: Callable[[Array], object], queries: Array, calls: int) -> list[Row]:
    timing = joined([timed(partial(call, queries[i % len(queries)]))[1] for i in range(calls)])
    least = Row(case, "least latency", 1e6 * min(timing.clock), "us/query", repeats=calls)
    return [timing.row(case, "us/query", 1e6, "latency"), least]


def latency_rows(calls: int) -> list[Row]:
    """One query at m = 50 by itself, end to end from Python: arrays, tensors, and a hull that is prepared."""
    import torch

    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(50, DIMENSIONS))
    outside, inside = rng.normal(size=(200, 1, DIMENSIONS)), rng.dirichlet(np.ones(50), (200, 1)) @ vertices
    hull = Hull(vertices, options=ProjectOptions(threads=1))
    rows = _latency("float64 m=50 one query outside, hull prepared", hull.project, outside, calls)
    for dtype in (np.float64, np.float32):
        for place, queries in (("outside", outside), ("inside", inside)):
            few, corners = queries.astype(dtype), vertices.astype(dtype)
            case = f"{np.dtype(dtype).name} m=50 one query {place}, one call of project_to_hull"
            rows += _latency(f"{case}, numpy", partial(project_to_hull, vertices=corners), few, calls)
            tensor = torch.from_numpy(corners)
            call = partial(project_to_hull, vertices=tensor)
            rows += _latency(f"{case}, torch", call, torch.from_numpy(few), calls)  # type: ignore[arg-type]
    return rows


def run(*, full: Full = False, on_progress: Listen = ignore_progress, checkpoint: Path | None = None) -> list[Row]:
    """Runs the benchmark: within minutes by default, hours with ``full``, which a checkpoint file lets go on."""
    plan = _FULL if full else _QUICK
    kept = Checkpoint(checkpoint)
    rows = kept.rows("latency", partial(latency_rows, plan.calls))
    rows += projections(plan.effort, on_progress, kept)
    if plan.large:
        rows += kept.rows("large pool", partial(large_pool, plan.large))
    for case in _cases(plan):
        if case.pools:
            rows += select_against_authors(case, on_progress, kept)
    return rows
