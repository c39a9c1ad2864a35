"""Selection of memories against the authors' procedure: same candidates, same seed."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.bench.baselines.er_hull_authors import authors_score
from everface.bench.checkpoint import Checkpoint
from everface.bench.common import Row, Timing, compare
from everface.engine.ops.hull.scores import PoolScorer
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress
from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.candidates import CANDIDATE_LIMIT, candidates, count_balanced
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


@dataclass(frozen=True)
class Outcome:
    """One pool: seconds of both, candidates that the authors' procedure scored, their exact score over ours.

    The authors' seconds are the least of wall clock and processor time: others at work on the machine stretch a
    procedure of minutes, and shall not count in our favour.
    """

    ours: float
    authors: float
    candidates: int
    score_ratio: float
    same: bool


def _one_pool(case: SelectionCase, seed: int) -> Outcome:
    pool = album_pool(case.sizes, case.dimensions, seed)
    samples = []
    for _ in range(OUR_REPEATS):
        start = time.perf_counter()
        chosen = policy("er-hull").select(pool, case.count, np.random.default_rng(seed))
        samples.append(time.perf_counter() - start)
    ours = Timing.of(samples).median
    rows = candidates(pool.groups, case.count, np.random.default_rng(seed))
    few = rows if case.scored is None else rows[: case.scored]
    start, processor = time.perf_counter(), time.process_time()
    theirs = np.array([authors_score(pool.latents, pool.groups, row, pool.spread) for row in few])
    authors = min(time.perf_counter() - start, time.process_time() - processor)
    scorer = PoolScorer(pool.latents, pool.groups, pool.spread)
    if case.scored is None:
        picked = chosen
    else:
        authors *= CANDIDATE_LIMIT / len(few)
        picked = few[scorer.best(few)[0]]
    exact = scorer.scores(np.stack([picked, few[theirs.argmin()]]))
    return Outcome(ours, authors, len(few), float(exact[1] / exact[0]), bool((picked == few[theirs.argmin()]).all()))


def _worst_score(name: str, peer: str, ratio: float, pools: int) -> Row:
    """The peer's exact score over ours in the pool where we do worst."""
    return Row(f"{name}, worst of the pools", "score", 1.0, "exact score, ours 1", peer, ratio, ratio, pools)


def _key(case: SelectionCase, seed: int) -> str:
    return f"select {case.sizes} {case.count} {case.scored} {case.dimensions} seed {seed}"


def select_against_authors(
    case: SelectionCase, on_progress: OnProgress = ignore_progress, checkpoint: Checkpoint | None = None
) -> list[Row]:
    """Time and score rows of `er-hull` against the authors' procedure on the same candidates."""
    reporter = ProgressReporter(case.name, case.pools, on_progress)
    kept = checkpoint or Checkpoint()
    found = []
    for seed in range(case.pools):
        measured = kept.value(_key(case, seed), lambda seed=seed: dataclasses.asdict(_one_pool(case, seed)))  # type: ignore[misc]
        found.append(Outcome(**measured))
        reporter.advance()
    ours, authors = Timing.of([f.ours for f in found]), Timing.of([f.authors for f in found])
    scored = found[0].candidates
    scaled = "" if case.scored is None else f" ({scored} candidates scaled linearly to {CANDIDATE_LIMIT})"
    name = f"select {case.name}{scaled}"
    peer = "authors-scipy"
    same = float(np.mean([f.same for f in found]))
    return [
        compare(name, "time", ours.median, "s", peer=peer, theirs=authors.median, lower_is_better=True,
                repeats=case.pools, spread=ours.spread),
        _worst_score(name, peer, min(f.score_ratio for f in found), case.pools),
        Row(name, "same subset", same, "fraction of pools", repeats=case.pools),
    ]  # fmt: skip


def better_optima(sizes: tuple[int, ...], count: int, pools: int, dimensions: int = DIMENSIONS) -> list[Row]:
    """`er-hull-exact` against the exact scores of the authors' 5000 draws, which it must never exceed."""
    ratios, ours, draws = [], [], []
    for seed in range(pools):
        pool = album_pool(sizes, dimensions, seed)
        start = time.perf_counter()
        rows = candidates(pool.groups, count, np.random.default_rng(seed))
        scorer = PoolScorer(pool.latents, pool.groups, pool.spread)
        best = float(scorer.scores(rows).min())
        draws.append(time.perf_counter() - start)
        start = time.perf_counter()
        chosen = policy("er-hull-exact").select(pool, count, np.random.default_rng(seed))
        ours.append(time.perf_counter() - start)
        ratios.append(best / float(scorer.scores(chosen[None])[0]))
    total = count_balanced(np.repeat(np.arange(len(sizes)), sizes), count)
    name = f"select er-hull-exact, pool {sum(sizes)} b {count} of {total} balanced subsets"
    mine, theirs = Timing.of(ours), Timing.of(draws)
    better = float(np.mean([r > 1 for r in ratios]))
    return [
        compare(name, "time", mine.median, "s", peer="er-hull", theirs=theirs.median, lower_is_better=True,
                repeats=pools, spread=mine.spread),
        _worst_score(name, "er-hull", min(ratios), pools),
        Row(name, "strictly better", better, "fraction of pools", repeats=pools),
    ]  # fmt: skip


def large_pool(scored: int, policies: tuple[str, ...] = ("er-hull-exact", "hull-search", "support")) -> list[Row]:
    """Pool 1000, 100 to keep: time and score against 5000 draws, of which some are scored and the time scaled."""
    pool = album_pool((100,) * 10, 512, 0)
    rows: NDArray[np.int64] = candidates(pool.groups, 100, np.random.default_rng(0))
    scorer = PoolScorer(pool.latents, pool.groups, pool.spread)
    start = time.perf_counter()
    best = float(scorer.scores(rows[:scored]).min())
    draws = (time.perf_counter() - start) * CANDIDATE_LIMIT / scored
    found = []
    for name in policies:
        start = time.perf_counter()
        chosen = policy(name).select(pool, 100, np.random.default_rng(0))
        seconds = time.perf_counter() - start
        score = float(scorer.scores(chosen[None])[0])
        case = f"select {name}, pool 1000 b 100"
        scaled = f"{case} ({scored} draws scaled linearly to {CANDIDATE_LIMIT})"
        found.append(compare(scaled, "time", seconds, "s", peer="er-hull", theirs=draws, lower_is_better=True))
        beside = f"{case}, beside the best of {scored} draws"
        found.append(
            compare(beside, "score", score, "mean distance", peer="er-hull", theirs=best, lower_is_better=True)
        )
    return found
