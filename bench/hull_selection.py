"""Selection of memories against the authors' procedure: same candidates, same seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from everface.bench.baselines.er_hull_authors import authors_score
from everface.bench.checkpoint import Checkpoint
from everface.bench.common import Row, Timing, joined, timed
from everface.engine.ops.hull.scores import PoolScorer
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress
from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.candidates import CANDIDATE_LIMIT, candidates
from everface.engine.replay.policies.registry import policy
from everface.engine.replay.policies.spread import spread_of

DIMENSIONS = 9216  # 18 layers of W
OUR_REPEATS = 5  # the median of so many for each pool, since one call takes about a millisecond


def album_pool(sizes: tuple[int, ...], dimensions: int, seed: int) -> Pool:
    """Latents like an album's: timestamps apart, images of one alike, variance falling over the directions."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(sizes)), sizes).astype(np.int64)
    decay = np.arange(1, dimensions + 1) ** -0.3
    latents = (
        0.7 * rng.normal(size=(len(sizes), dimensions))[groups] + rng.normal(size=(len(groups), dimensions))
    ) * decay
    spread = np.concatenate([spread_of(latents[groups == g]) for g in range(len(sizes))])
    n = len(groups)
    return Pool(latents, groups, np.full(n, 8192, dtype=np.int64), spread, np.full(n, np.nan))


@dataclass(frozen=True)
class SelectionCase:
    """Pools of one shape.

    Attributes:
        name: as it is reported.
        sizes: images of each timestamp.
        count: how many to keep.
        pools: seeds 0..pools-1.
        scored: candidates that the authors' procedure scores; None for all.
        dimensions: of a latent.
    """

    name: str
    sizes: tuple[int, ...]
    count: int
    pools: int
    scored: int | None = None
    dimensions: int = DIMENSIONS


def _one_pool(case: SelectionCase, seed: int) -> dict[str, float]:
    """One pool: seconds of both, candidates that the authors' procedure scored, their exact score over ours.

    The authors' seconds are the least of wall clock and processor time: others at work on the machine stretch a
    procedure of minutes, and shall not count in our favour.
    """
    pool = album_pool(case.sizes, case.dimensions, seed)
    calls = [timed(partial(_select, "er-hull", pool, case.count, seed)) for _ in range(OUR_REPEATS)]
    rows = candidates(pool.groups, case.count, np.random.default_rng(seed))
    few = rows if case.scored is None else rows[: case.scored]
    scores, took = timed(lambda: [authors_score(pool.latents, pool.groups, row, pool.spread) for row in few])
    authors, theirs = min(took.median, took.processor.median), few[int(np.argmin(scores))]
    scorer, picked = PoolScorer(pool.latents, pool.groups, pool.spread), calls[0][0]
    if case.scored is not None:
        authors *= CANDIDATE_LIMIT / len(few)
        picked = few[scorer.best(few)[0]]
    exact = scorer.scores(np.stack([picked, theirs]))
    return {
        "ours": joined([timing for _, timing in calls]).median, "authors": authors, "candidates": len(few),
        "score_ratio": float(exact[1] / exact[0]), "same": float((picked == theirs).all()),
    }  # fmt: skip


def _select(name: str, pool: Pool, count: int, seed: int) -> NDArray[np.int64]:
    return policy(name).select(pool, count, np.random.default_rng(seed))


def select_against_authors(
    case: SelectionCase, on_progress: OnProgress = ignore_progress, checkpoint: Checkpoint | None = None
) -> list[Row]:
    """Time and score rows of `er-hull` against the authors' procedure on the same candidates."""
    reporter = ProgressReporter(case.name, case.pools, on_progress)
    kept = checkpoint or Checkpoint()
    pools = []
    for seed in range(case.pools):
        key = f"select {case.sizes} {case.count} {case.scored} {case.dimensions} seed {seed}"
        pools.append(kept.value(key, partial(_one_pool, case, seed)))
        reporter.advance()
    ours, authors = (Timing(tuple(pool[name] for pool in pools)) for name in ("ours", "authors"))
    scaled = "" if case.scored is None else f" ({case.scored} candidates scaled linearly to {CANDIDATE_LIMIT})"
    name = f"select {case.name}{scaled}"
    same = float(np.mean([pool["same"] for pool in pools]))
    worst = min(pool["score_ratio"] for pool in pools)  # their exact score over ours where we do worst
    score = Row(f"{name}, worst of the pools", "score", 1.0, "exact score, ours 1", repeats=case.pools)
    return [
        *ours.rows(name, "s", {"authors-scipy": authors}, 1.0),
        score.beside("authors-scipy", worst),
        Row(name, "same subset", same, "fraction of pools", repeats=case.pools),
    ]


def large_pool(scored: int, policies: tuple[str, ...] = ("er-hull-exact", "hull-search", "support")) -> list[Row]:
    """Pool 1000, 100 to keep: time and score against 5000 draws, of which some are scored and the time scaled."""
    pool = album_pool((100,) * 10, 512, 0)
    draws = candidates(pool.groups, 100, np.random.default_rng(0))[:scored]
    scorer = PoolScorer(pool.latents, pool.groups, pool.spread)
    scores, drawing = timed(lambda: scorer.scores(draws))
    rows = []
    for name in policies:
        chosen, searching = timed(partial(_select, name, pool, 100, 0))
        score = float(scorer.scores(chosen[None])[0])
        case = f"select {name}, pool 1000 b 100"
        scaled = f"{case} ({scored} draws scaled linearly to {CANDIDATE_LIMIT})"
        theirs = drawing.median * CANDIDATE_LIMIT / scored
        rows.append(searching.row(scaled, "s", 1.0).beside("er-hull", theirs))
        beside = f"{case}, beside the best of {scored} draws"
        rows.append(Row(beside, "score", score, "mean distance").beside("er-hull", float(scores.min())))
    return rows
