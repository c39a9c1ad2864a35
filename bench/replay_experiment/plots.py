"""Forgetting curves and matrices, as pictures that show numbers only."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.bench.replay_experiment.statistics import Key
from everface.bench.replay_experiment.tables import Results, label_of
from everface.bench.sequence import UPPER
from everface.engine.metrics.forgetting import average_performance

Matrix = NDArray[np.float64]


def mean_matrices(
    results: Results, labels: Sequence[str], of: Callable[[Matrix, Key], Matrix] = lambda matrix, _: matrix
) -> dict[str, Matrix]:
    """Each method's matrix of the headline metric, mean over the timelines on which all of the methods ran.

    Timelines have different lengths; a mean goes over those that reach a timestamp. So that a person's end is not
    taken for a change, plots take what is comparable between people first.

    Args:
        results: the numbers.
        labels: of the methods.
        of: what the mean is taken of, from a timeline's matrix and its person and seed.
    """
    taken: dict[str, dict[Key, Matrix]] = {}
    for cell, numbers in results.numbers.items():
        key, label = (cell.person, cell.seed), label_of(cell)
        if label in labels:
            taken.setdefault(label, {})[key] = of(np.array(numbers["matrices"][results.metric], float), key)
    common = sorted(set.intersection(*(set(values) for values in taken.values()))) if taken else []
    return {label: _mean([taken[label][key] for key in common]) for label in labels if label in taken}


def _mean(matrices: Sequence[Matrix]) -> Matrix:
    """Over those that reach an entry."""
    shape = np.max([values.shape for values in matrices], axis=0, initial=0)
    padded = [
        np.pad(values, [(0, most - own) for most, own in zip(shape, values.shape, strict=True)], constant_values=np.nan)
        for values in matrices
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # entries that nobody reaches stay NaN
        return np.asarray(np.nanmean(padded, axis=0))


def plot_curves(results: Results, labels: Sequence[str], path: Path) -> None:
    """Left: AP_t, the mean over all timestamps so far, above the same timeline's upper bound where that ran. Right:
    what became of timestamp 0, model after model."""
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(1, 2, figsize=(13, 4.5), constrained_layout=True)
    bound = results.scores.get(f"{UPPER}@-")
    bounds = {} if bound is None else bound.aip[results.metric]
    shown = [label for label in labels if not label.startswith(UPPER)]
    averages = mean_matrices(
        results, shown, lambda matrix, key: average_performance(matrix)[:, None] - bounds.get(key, 0.0)
    )
    changes = mean_matrices(results, shown, lambda matrix, _: matrix[:, :1] - matrix[0, 0])
    for label in averages:
        steps = np.arange(len(averages[label]))
        axes[0].plot(steps, averages[label][:, 0], marker="o", label=label)
        axes[1].plot(steps, changes[label][:, 0], marker="o", label=label)
    beside = f"\nabove {UPPER}" if bounds else ""
    axes[0].set(title="all timestamps so far (AP)", xlabel="model after timestamp", ylabel=results.metric + beside)
    axes[1].set(
        title="timestamp 0", xlabel="model after timestamp", ylabel=f"{results.metric}\nabove the first model's"
    )
    for axis in axes:
        axis.grid(visible=True, alpha=0.3)
        axis.axhline(0, ls="--", c="grey")
    axes[1].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def plot_matrices(results: Results, labels: Sequence[str], path: Path) -> None:
    """One panel a method on one colour scale: how much worse than the best model so far, by timestamp."""
    pyplot = _pyplot()
    shown = [label for label in labels if not label.startswith(UPPER)]
    matrices = mean_matrices(results, shown, lambda matrix, _: _worse(matrix))
    if not matrices:
        return
    limit = max(float(np.nanmax(values)) for values in matrices.values())
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
    forgotten = np.full_like(matrix, np.nan)
    for k in range(len(matrix)):
        column = matrix[k:, k]
        forgotten[k:, k] = column - np.minimum.accumulate(column)
    return forgotten


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot
