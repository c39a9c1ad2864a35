"""From cells to numbers: AIP and Forgetting of every method, as rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from everface.bench.common import Row
from everface.bench.protocol import IDENTITY, INDEPENDENT, LOSS, METRICS, PSNR, REC_IDENTITY, summary_of
from everface.bench.replay_experiment.cells import Cell
from everface.bench.replay_experiment.methods import BASE, needs_no_buffer
from everface.bench.replay_experiment.statistics import Key, Paired, interval_of, paired_test
from everface.bench.sequence import CUMULATIVE, REFERENCES, UPPER

PAPER_METHOD = "er-hull@b=3"
BEST_BYTES = "er-hull-exact@3png"
"""Ours at the bytes of the paper's b = 3."""
Values = dict[Key, float]


def _by_metric() -> dict[str, Values]:
    return defaultdict(dict)


@dataclass(frozen=True)
class Scores:
    """A method's numbers by metric, person and seed.

    Attributes:
        aip: AIP; of ``upper`` and ``base`` the mean over all photos.
        last: the same of the last model alone: AIP also has the early models, which have learned little yet.
        forgetting: positive when worse; NaN where nothing can be forgotten.
        bytes: the most that was kept.
        seconds: of the processor.
    """

    aip: dict[str, Values] = field(default_factory=_by_metric)
    last: dict[str, Values] = field(default_factory=_by_metric)
    forgetting: dict[str, Values] = field(default_factory=_by_metric)
    bytes: Values = field(default_factory=dict)
    seconds: Values = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """Everything that was measured.

    Attributes:
        scores: by ``method@buffer``.
        numbers: the cells' own JSON, by cell.
        metric: of reconstruction that the headline uses: independent features where they are installed.
    """

    scores: Mapping[str, Scores]
    numbers: Mapping[Cell, dict[str, Any]]
    metric: str


def label_of(cell: Cell) -> str:
    """``method@buffer``."""
    return f"{cell.method}@{cell.buffer}"


def gather(numbers: Mapping[Cell, dict[str, Any]]) -> Results:
    """Summarises cells."""
    scores: dict[str, Scores] = defaultdict(Scores)
    for cell, entry in numbers.items():
        mine, key = scores[label_of(cell)], (cell.person, cell.seed)
        for metric, listed in entry["matrices"].items():
            matrix = np.array(listed, float)
            summary = summary_of(matrix, metric)
            mine.last[metric][key] = float(matrix[-1].mean())
            mine.aip[metric][key] = summary.incremental_performance
            mine.forgetting[metric][key] = summary.forgetting
        stored = [a + b for a, b in zip(entry["photo_bytes"], entry["code_bytes"], strict=True)]
        mine.bytes[key] = float(max(stored))
        mine.seconds[key] = entry.get("processor_seconds", 0.0)
    metrics = {metric for entry in numbers.values() for metric in entry["matrices"]}
    return Results(dict(scores), numbers, INDEPENDENT if INDEPENDENT in metrics else LOSS)


def peer_of(results: Results, label: str) -> str:
    """Whom a method stands beside: er-hull with the same buffer where it ran, else the paper's er-hull at b = 3.

    The bytes of three PNG files are those of the paper's b = 3: methods at them stand beside it.
    """
    same = f"er-hull@{label.partition('@')[2]}"
    return same if same in results.scores and not label.endswith("png") else PAPER_METHOD


def rows_of(results: Results) -> tuple[Row, ...]:
    """The benchmark contract's rows, the headline first; peers are measured on the same people and seeds."""
    rows: list[Row] = []
    for label in sorted(results.scores, key=lambda entry: (entry != BEST_BYTES, entry)):
        rows += _rows_of(results, label)
    return tuple(rows)


def _rows_of(results: Results, label: str) -> list[Row]:
    beside, (method, _, buffer) = peer_of(results, label), label.partition("@")
    mine, peer, metric = results.scores[label], results.scores.get(beside), results.metric
    peer = None if label == beside else peer
    case = "best bytes" if label == BEST_BYTES else method if buffer == "-" else f"{method} {buffer}"
    rows = []

    def add(name: str, of: Callable[[Scores], Values], unit: str, other: Scores | None, who: str = "er-hull") -> None:
        rows.append(_beside(Row(case, name, 0.0, unit), of(mine), None if other is None else of(other), who))

    if method not in (UPPER, BASE):
        add("forgetting", lambda scores: scores.forgetting[metric], metric, peer)
        add("forgetting of identity", lambda scores: scores.forgetting[IDENTITY], IDENTITY, peer)
    add("AIP", lambda scores: scores.aip[metric], metric, peer)
    bounds: tuple[tuple[str, Callable[[Scores], Values], str], ...] = (
        ("AIP beside the upper bound", lambda scores: scores.aip[metric], UPPER),
        ("last model beside the upper bound", lambda scores: scores.last[metric], UPPER),
        ("AIP beside cumulative training", lambda scores: scores.aip[metric], CUMULATIVE),
        ("AIP beside the base", lambda scores: scores.aip[metric], BASE),
        ("AIP beside the base, ID of samples", lambda scores: scores.aip[IDENTITY], BASE),
    )
    for name, of, bound in bounds:
        best = results.scores.get(f"{bound}@-")
        if best is not None and method not in (BASE, *REFERENCES):
            add(name, of, IDENTITY if name.endswith(IDENTITY) else metric, best, bound)
    for name in (PSNR, REC_IDENTITY, IDENTITY):
        add(f"AIP, {name}", lambda scores, name=name: scores.aip[name], name, peer)  # type: ignore[misc]
    if not needs_no_buffer(method):
        add("bytes", lambda scores: scores.bytes, "bytes", peer)
    if any(mine.seconds.values()):
        add("time", lambda scores: scores.seconds, "processor seconds", None)
    if (tested := _tested(results, label)) is not None:
        difference, name = tested.difference, "forgetting beyond er-hull's"
        row = Row(case, name, difference.mean, metric, repeats=difference.runs)
        rows.append(row if np.isnan(difference.half) else replace(row, spread=difference.half))
        for test, p in (("paired t", tested.p_t), ("sign flips", tested.p_flip)):
            if np.isfinite(p):
                rows.append(Row(case, f"p of {name}, {test}", p, "probability", repeats=difference.runs))
    return rows


def _tested(results: Results, label: str) -> Paired | None:
    """A method's forgetting against its peer's."""
    beside = peer_of(results, label)
    peer = results.scores.get(beside)
    if peer is None or label in (beside, f"{UPPER}@-", f"{BASE}@-"):
        return None
    return paired_test(results.scores[label].forgetting[results.metric], peer.forgetting[results.metric])


def _beside(row: Row, mine: Values, theirs: Values | None, peer: str) -> Row:
    """Means over the person-seed pairs that both have; spread is half of the 95 % interval of ours."""
    keys = [key for key in mine if theirs is None or key in theirs]
    alone = theirs is None or not keys
    ours = interval_of(mine if alone else {key: mine[key] for key in keys})
    spread = ours.half if np.isfinite(ours.half) else 0.0
    row = replace(row, value=ours.mean, repeats=ours.runs, spread=spread)
    if theirs is None or not keys:
        return row
    other = interval_of({key: theirs[key] for key in keys}).mean
    # An identity's AIP is better when higher; its forgetting, like everything else, when lower.
    higher = METRICS.get(row.unit, False) and not row.metric.startswith("forgetting")
    # Forgetting may be negative, where a quotient has no meaning: the difference has a row of its own.
    return row if min(ours.mean, other) <= 0 else row.beside(peer, other, higher=higher)
