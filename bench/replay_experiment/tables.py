"""From cells to numbers: AIP and Forgetting of every method, beside the published ones, as rows and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from everface.bench.common import Row
from everface.bench.replay_experiment.cells import IDENTITY, LOSS, METRICS, PSNR, REC_IDENTITY, Cell
from everface.bench.replay_experiment.features import INDEPENDENT
from everface.bench.replay_experiment.methods import CUMULATIVE, REFERENCES, UPPER, needs_no_buffer
from everface.bench.replay_experiment.statistics import Key, interval_of, paired_test
from everface.engine.metrics.forgetting import forgetting_summary

PUBLISHED = {
    "lower@-": (1.17, 0.64, 7.48, 2.64),
    "kmeans@b=3": (1.07, 0.44, 8.14, 1.93),
    "er-rand@b=3": (1.04, 0.40, 8.24, 1.62),
    "er-hull@b=3": (0.99, 0.30, 8.40, 1.36),
    "kmeans@b=5": (1.00, 0.29, 8.45, 1.26),
    "er-rand@b=5": (0.98, 0.25, 8.52, 1.12),
    "er-hull@b=5": (0.98, 0.25, 8.55, 1.05),
    "kmeans@b=10": (0.92, 0.18, 8.68, 0.83),
    "er-rand@b=10": (0.91, 0.15, 8.73, 0.64),
    "er-hull@b=10": (0.91, 0.16, 8.71, 0.71),
    "upper@-": (0.89, None, 8.76, None),
}
"""Paper, 2D, mean of 5 people, times 10: AIP and Forgetting of reconstruction (LPIPS), the same of samples (ID)."""
PAPER_METHOD = "er-hull@b=3"
BEST_BYTES = "er-hull-exact@3png"
"""Ours at the bytes of the paper's b = 3."""
_NO_LOSS = 100.0
"""Ratio that stands for a peer that lost something beside one that lost nothing, where a quotient has no meaning."""


@dataclass(frozen=True)
class Scores:
    """A method's numbers: metric to (person, seed) to AIP, the same of the last model alone on all photos (AIP also has
    the early models, which have learned little yet), and of Forgetting, positive when worse."""

    aip: Mapping[str, Mapping[Key, float]]
    last: Mapping[str, Mapping[Key, float]]
    forgetting: Mapping[str, Mapping[Key, float]]
    bytes: Mapping[Key, float]


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
    scores: dict[str, Scores] = {}
    for cell, entry in numbers.items():
        mine = scores.setdefault(label_of(cell), Scores({}, {}, {}, {}))
        key = (cell.person, cell.seed)
        for metric, listed in entry["matrices"].items():
            matrix = np.array(listed, float)
            aip, forgot = _summary(cell, matrix, METRICS[metric])
            mine.aip.setdefault(metric, {})[key] = aip  # type: ignore[attr-defined]
            mine.last.setdefault(metric, {})[key] = float(matrix[-1].mean())  # type: ignore[attr-defined]
            mine.forgetting.setdefault(metric, {})[key] = forgot  # type: ignore[attr-defined]
        stored = [a + b for a, b in zip(entry["photo_bytes"], entry["code_bytes"], strict=True)]
        mine.bytes[key] = float(max(stored))  # type: ignore[index]
    metrics = {metric for entry in numbers.values() for metric in entry["matrices"]}
    return Results(scores, numbers, INDEPENDENT if INDEPENDENT in metrics else LOSS)


def _summary(cell: Cell, matrix: np.ndarray, higher: bool) -> tuple[float, float]:
    if cell.method == UPPER:
        return float(matrix[-1].mean()), float("nan")
    summary = forgetting_summary(matrix, higher_is_better=higher)
    return summary.incremental_performance, summary.forgetting


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


def _case(label: str) -> str:
    if label == BEST_BYTES:
        return "best bytes"
    method, _, buffer = label.partition("@")
    return method if buffer == "-" else f"{method} {buffer}"


def _rows_of(results: Results, label: str) -> list[Row]:
    beside = peer_of(results, label)
    mine, peer = results.scores[label], results.scores.get(beside)
    other = peer if peer is not None and label != beside else None
    case, metric, method = _case(label), results.metric, label.partition("@")[0]
    forgot = {} if other is None else other.forgetting
    aip = {} if other is None else other.aip
    rows = []
    if method != UPPER:
        rows.append(_beside(case, "forgetting", mine.forgetting[metric], forgot.get(metric), metric))
        rows.append(_beside(
            case, "forgetting of identity", mine.forgetting[IDENTITY], forgot.get(IDENTITY), IDENTITY,
        ))  # fmt: skip
    rows.append(_beside(case, "AIP", mine.aip[metric], aip.get(metric), metric))
    for name, values, bound in (
        ("AIP beside the upper bound", mine.aip, UPPER),
        ("last model beside the upper bound", mine.last, UPPER),
        ("AIP beside cumulative training", mine.aip, CUMULATIVE),
    ):
        best = results.scores.get(f"{bound}@-")
        if best is not None and method not in REFERENCES:
            rows.append(_beside(case, name, values[metric], best.aip[metric], metric, bound))
    for name in (PSNR, REC_IDENTITY, IDENTITY):
        rows.append(_beside(case, f"AIP, {name}", mine.aip[name], aip.get(name), name))
    if not needs_no_buffer(method):
        rows.append(_beside(case, "bytes", mine.bytes, None if other is None else other.bytes, "bytes"))
    tested = None if other is None or method == UPPER else paired_test(
        mine.forgetting[metric], other.forgetting[metric]
    )  # fmt: skip
    if tested is not None:
        for name, p in (("p of forgetting, paired t", tested.p_t), ("p of forgetting, sign flips", tested.p_flip)):
            if np.isfinite(p):
                rows.append(Row(case, name, p, "probability", "er-hull", repeats=tested.difference.runs))
    return rows


def _beside(
    case: str, metric: str, mine: Mapping[Key, float], theirs: Mapping[Key, float] | None, unit: str,
    peer: str = "er-hull",
) -> Row:  # fmt: skip
    """Means over the person-seed pairs that both have; spread is half of the 95 % interval of ours."""
    keys = [key for key in mine if theirs is None or key in theirs]
    if theirs is None or not keys:
        ours = interval_of(mine)
        return Row(case, metric, ours.mean, unit, repeats=ours.runs, spread=_finite(ours.half))
    ours, other = interval_of({k: mine[k] for k in keys}), interval_of({k: theirs[k] for k in keys})
    # An identity's AIP is better when higher; its forgetting, like everything else, when lower.
    higher = METRICS.get(unit, False) and not metric.startswith("forgetting")
    above, below = (ours.mean, other.mean) if higher else (other.mean, ours.mean)
    # Forgetting may be negative: then who lost nothing is told from who lost something, and no more.
    ratio = _NO_LOSS ** (np.sign(above) - np.sign(below)) if min(above, below) <= 0 else above / below
    ratio = float(np.clip(ratio, 1 / _NO_LOSS, _NO_LOSS))
    return Row(case, metric, ours.mean, unit, peer, other.mean, ratio, ours.runs, _finite(ours.half))


def _finite(value: float) -> float:
    return value if np.isfinite(value) else 0.0


def markdown(results: Results, labels: Sequence[str] | None = None) -> str:
    """Our table in the paper's form, the published numbers beside ours."""
    metric = results.metric
    head = (
        "method", "buffer", "runs", "bytes", f"AIP, {metric}", "Forgetting", f"AIP, {IDENTITY}", "Forgetting",
        "p of Forgetting against er-hull of that buffer (else b = 3)", "published: LPIPS x 10, AIP / Forgetting",
        "published: ID x 10, AIP / Forgetting",
    )  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for label in labels or _ordered(results):
        entry = results.scores.get(label)
        if entry is not None:
            lines.append(_line(results, label, entry))
    return "\n".join(lines) + "\n"


def _ordered(results: Results) -> list[str]:
    def place(label: str) -> tuple[float, int, str]:
        values = results.scores[label].aip[results.metric]
        return (-len(values), -round(1e6 * float(np.mean(list(values.values())))), label)

    return sorted(results.scores, key=place)


def _line(results: Results, label: str, entry: Scores) -> str:
    method, _, buffer = label.partition("@")
    aip, identity = interval_of(entry.aip[results.metric]), interval_of(entry.aip[IDENTITY])
    forgot = ["-", "-"]
    if method != UPPER:
        forgot = [_shown(interval_of(entry.forgetting[name])) for name in (results.metric, IDENTITY)]
    beside = peer_of(results, label)
    peer, test = results.scores.get(beside), None
    if peer is not None and method != UPPER and label != beside:
        test = paired_test(entry.forgetting[results.metric], peer.forgetting[results.metric])
    p = "-"
    if test is not None:
        wins = f"lower in {test.better}/{test.difference.runs}"
        p = f"{test.p_t:.3f} t, {test.p_flip:.3f} flips; {wins}"
    published = PUBLISHED.get(label)
    cited = ["-", "-"]
    if published is not None:
        cited = [f"{a:.2f} / {'-' if b is None else f'{b:.2f}'}" for a, b in (published[:2], published[2:])]
    size = "-" if needs_no_buffer(method) else f"{np.mean(list(entry.bytes.values())):.0f}"
    cells = (
        method, buffer, str(aip.runs), size, _shown(aip), forgot[0], _shown(identity), forgot[1], p, *cited,
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _shown(interval: Any) -> str:
    return f"{interval.mean:.4f}" + ("" if np.isnan(interval.half) else f" ± {interval.half:.4f}")
