"""The forgetting matrix as coloured table cells whose numbers stay legible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.metrics.forgetting import forgetting_summary
from everface.engine.report.data import ForgettingMatrix
from everface.engine.report.text import number

# From best to worst, ever darker, so that it also reads in grey and with any colour vision.
SCALE = (
    (0xF2, 0xF6, 0xF3),
    (0xD3, 0xE4, 0xDC),
    (0xE8, 0xC8, 0x92),
    (0xD8, 0x89, 0x58),
    (0xA8, 0x43, 0x35),
    (0x5E, 0x1A, 0x27),
)
# From here on white text stands out more than black: the one that does has a contrast of at least 4.5 (WCAG 2.2).
LIGHT_TEXT_FROM = 0.735


@dataclass(frozen=True)
class Cell:
    """One number with its colours as CSS hex; ``text`` is empty above the diagonal."""

    text: str
    background: str = ""
    foreground: str = ""
    diagonal: bool = False


@dataclass(frozen=True)
class HeatMap:
    """One matrix, ready for the template: rows are models, columns test sets, then AP_t."""

    title: str
    metric: str
    higher_is_better: bool
    rows: tuple[tuple[Cell, ...], ...]
    average_performance: tuple[str, ...]
    incremental_performance: str
    forgetting: str
    legend: tuple[Cell, ...]


def heat_maps(matrices: Sequence[ForgettingMatrix]) -> tuple[HeatMap, ...]:
    """All matrices; those of one metric and sign share one colour scale, so that they can be compared.

    Raises:
        UsageError: a matrix is not one of forgetting.
    """
    kinds = {(m.metric, m.higher_is_better) for m in matrices}
    ranges = {kind: _range([m for m in matrices if (m.metric, m.higher_is_better) == kind]) for kind in kinds}
    return tuple(_heat_map(m, *ranges[m.metric, m.higher_is_better]) for m in matrices)


def colours(badness: float) -> tuple[str, str]:
    """The scale's colour at 0 (best) to 1 (worst), and that of text on it, as CSS hex."""
    place = float(np.clip(badness, 0, 1)) * (len(SCALE) - 1)
    low = min(int(place), len(SCALE) - 2)
    mixed = np.array(SCALE[low]) + (place - low) * (np.array(SCALE[low + 1]) - np.array(SCALE[low]))
    text = "#ffffff" if badness > LIGHT_TEXT_FROM else "#000000"
    return "#{:02x}{:02x}{:02x}".format(*(round(float(v)) for v in mixed)), text


def _lower(values: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.asarray(values, dtype=np.float64)
    return matrix[np.tril_indices(len(matrix))]


def _range(matrices: Sequence[ForgettingMatrix]) -> tuple[float, float]:
    known = np.concatenate([_lower(m.values) for m in matrices])
    known = known[np.isfinite(known)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)


def _cell(value: float, low: float, high: float, higher_is_better: bool) -> Cell:
    if not np.isfinite(value):
        return Cell("")
    place = (value - low) / (high - low) if high > low else 0.5
    return Cell(number(value), *colours(1 - place if higher_is_better else place))


def _heat_map(matrix: ForgettingMatrix, low: float, high: float) -> HeatMap:
    summary = forgetting_summary(matrix.values, higher_is_better=matrix.higher_is_better)
    values, better = np.asarray(matrix.values, dtype=np.float64), matrix.higher_is_better
    rows = []
    for t in range(len(values)):
        cells = [_cell(values[t, k], low, high, better) if k <= t else Cell("") for k in range(len(values))]
        cells[t] = Cell(cells[t].text, cells[t].background, cells[t].foreground, diagonal=True)
        rows.append(tuple(cells))
    best, worst = (high, low) if better else (low, high)
    legend = [_cell(best + (worst - best) * i / 6, low, high, better) for i in range(7)] if high > low else []
    return HeatMap(
        title=matrix.title,
        metric=matrix.metric,
        higher_is_better=better,
        rows=tuple(rows),
        average_performance=tuple(number(value) for value in summary.average_performance),
        incremental_performance=number(summary.incremental_performance),
        forgetting=number(summary.forgetting),
        legend=tuple(legend),
    )
