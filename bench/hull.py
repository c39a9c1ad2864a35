"""Projection onto a hull against solvers that a user could pick, selection against the authors' procedure.

The committed results come from ``OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive everface bench hull --full --checkpoint
hull.jsonl --json bench/results/hull.json``. One BLAS thread is the authors' procedure at its fastest; SPAMS and ours
take two threads of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.bench.checkpoint import Checkpoint
from everface.bench.common import Full, Listen, Row, joined, timed
from everface.bench.hull_projection import DIMENSIONS, Effort, projections
from everface.bench.hull_selection import SelectionCase, better_optima, large_pool, select_against_authors
from everface.engine.ops.hull.projection import Hull, ProjectOptions, project_to_hull
from everface.engine.progress import ignore_progress

Array = NDArray[Any]
BLOCK = 20_000  # queries of a stream that are in memory at once


@dataclass(frozen=True)
class _Plan:
    """How much of everything: ``pools`` for each of the cases in ``_cases``."""

    effort: Effort
    calls: int
    pools: tuple[int, int, int, int, int]
    optima: int
    scored: int
    large: int
    million: int


_QUICK = _Plan(Effort(3, 0.05, 2000), 300, (2, 2, 0, 0, 1), 5, 2, 0, 20_000)
_FULL = _Plan(Effort(5, 0.3, 10_000), 2000, (50, 50, 50, 20, 50), 50, 100, 16, 1_000_000)


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


def _resident() -> float:
    """Megabytes of this process in memory; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0.0
    return pages * 4096 / 1e6


def _normal(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    return rng.standard_normal(size, dtype=np.float32)


def stream_rows(total: int, m: int = 200) -> list[Row]:
    """float32 queries, made block by block and projected by ``Hull.stream``: time of the projection, and memory."""
    rng = np.random.default_rng(0)
    vertices = rng.standard_normal((m, DIMENSIONS), dtype=np.float32)
    hull = Hull(vertices, options=ProjectOptions(weights="sparse", threads=2))
    making = []

    def blocks() -> Iterator[Array]:
        for at in range(0, total, BLOCK):
            size = (min(BLOCK, total - at), DIMENSIONS)
            block, took = timed(partial(_normal, rng, size))
            making.append(took)
            yield block

    before = _resident()
    found, whole = timed(lambda: [(float(part.gap.max()), _resident()) for part in hull.stream(blocks())])
    made = joined(making)
    case = f"float32 m={m} outside, {total} queries of 512, streamed, 2 threads"
    return [
        Row(case, "time", whole.clock[0] - sum(made.clock), "s"),
        Row(case, "processor time", whole.busy[0] - sum(made.busy), "s of both threads"),
        Row(case, "gap", max(gap for gap, _ in found), "largest relative duality gap"),
        Row(case, "memory", max(resident for _, resident in found) - before, "MB beyond the start"),
    ]


def run(*, full: Full = False, on_progress: Listen = ignore_progress, checkpoint: Path | None = None) -> list[Row]:
    """Runs the benchmark: within minutes by default, hours with ``full``, which a checkpoint file lets go on."""
    plan = _FULL if full else _QUICK
    kept = Checkpoint(checkpoint)
    rows = kept.rows("latency", partial(latency_rows, plan.calls))
    rows += kept.rows("stream", partial(stream_rows, plan.million))
    rows += projections(plan.effort, on_progress, kept)
    for sizes in ((10, 20), (5, 5, 20)):
        rows += kept.rows(f"optima {sizes}", partial(better_optima, sizes, 10, plan.optima))
    if plan.large:
        rows += kept.rows("large pool", partial(large_pool, plan.large))
    for case in _cases(plan):
        if case.pools:
            rows += select_against_authors(case, on_progress, kept)
    return rows
