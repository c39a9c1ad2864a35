"""Forgetting curves and matrices, as pictures that show numbers only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.bench.replay_experiment.methods import UPPER
from everface.bench.replay_experiment.tables import Results, label_of

__all__ = ["plot_curves", "plot_matrices"]

Matrix = NDArray[np.float64]


def mean_matrices(results: Results, labels: Sequence[str]) -> dict[str, Matrix]:
    """Each method's matrix of the headline metric, mean over the timelines on which all of the methods ran.

    Timelines have different lengths; a mean goes over those that reach a timestamp.
    """
    found: dict[str, dict[tuple[str, int], Matrix]] = {}
    for cell, told in results.told.items():
        if label_of(cell) in labels:
            matrix = np.array(told["matrices"][results.metric], float)
            found.setdefault(label_of(cell), {})[(cell.person, cell.seed)] = matrix
    common = set.intersection(*(set(one) for one in found.values())) if found else set()
    size = max((len(found[label][key]) for label in found for key in common), default=0)
    return {label: _mean([found[label][key] for key in sorted(common)], size) for label in labels if label in found}


def _mean(matrices: Sequence[Matrix], size: int) -> Matrix:
    total, count = np.zeros((size, size)), np.zeros((size, size))
    for matrix in matrices:
        n, known = len(matrix), ~np.isnan(matrix)
        total[:n, :n] += np.where(known, matrix, 0.0)
        count[:n, :n] += known
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def plot_curves(results: Results, labels: Sequence[str], path: Path) -> None:
    """Left: AP_t, the mean over all timestamps so far. Right: what became of timestamp 0, model after model."""
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(1, 2, figsize=(13, 4.5), constrained_layout=True)
    for label, matrix in mean_matrices(results, labels).items():
        steps = np.arange(len(matrix))
        if label.startswith(UPPER):
            axes[0].axhline(np.nanmean(matrix[-1]) if len(matrix) else np.nan, ls="--", c="grey", label=label)
            continue
        average = np.array([np.nanmean(matrix[t, : t + 1]) for t in steps])
        axes[0].plot(steps, average, marker="o", label=label)
        axes[1].plot(steps, matrix[:, 0], marker="o", label=label)
    axes[0].set(title="all timestamps so far (AP)", xlabel="model after timestamp", ylabel=results.metric)
    axes[1].set(title="timestamp 0", xlabel="model after timestamp", ylabel=results.metric)
    for axis in axes:
        axis.grid(visible=True, alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def plot_matrices(results: Results, labels: Sequence[str], path: Path) -> None:
    """One panel a method on one colour scale: how much worse than the best model so far, by timestamp."""
    pyplot = _pyplot()
    matrices = {label: _worse(one) for label, one in mean_matrices(results, labels).items() if label[:5] != UPPER}
    if not matrices:
        return
    limit = max(float(np.nanmax(one)) for one in matrices.values())
    columns = min(4, len(matrices))
    rows = -(-len(matrices) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(3.4 * columns, 3.2 * rows), constrained_layout=True)
    for axis in np.ravel(axes)[len(matrices) :]:
        axis.axis("off")
    image = None
    for axis, (label, matrix) in zip(np.ravel(axes), matrices.items(), strict=False):
        image = axis.imshow(matrix, cmap="magma_r", vmin=0, vmax=max(limit, 1e-9))
        axis.set(title=label, xlabel="test set of timestamp", ylabel="model after timestamp")
        axis.title.set_fontsize(9)
    figure.colorbar(image, ax=axes, label=f"{results.metric}\nabove the best so far", shrink=0.7)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _worse(matrix: Matrix) -> Matrix:
    """Each entry minus the least of its column so far, NaN above the diagonal."""
    found = np.full_like(matrix, np.nan)
    for k in range(len(matrix)):
        column = matrix[k:, k]
        found[k:, k] = column - np.minimum.accumulate(column)
    return found


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot
