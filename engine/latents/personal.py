"""Search inside a person's subspace: hull weights over the anchors, and small changes of each layer's style.

MyStyle (Nitzan et al. 2022, section 4.2): the face that best explains a photo, among those that the person can have.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import NumericalError, UsageError
from everface.engine.latents.adam import Adam
from everface.engine.latents.coordinates import displaced
from everface.engine.latents.hull import MYSTYLE_BETA
from everface.engine.latents.model import FaceModel, Floats, Targets, join_camera
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress

_SHARPNESS = 100.0  # of the softplus that keeps weights above -beta (MyStyle)
_SUM_WEIGHT = 10.0
_LAYER_WEIGHT = 10.0
_SMALLEST = 1e-4


@dataclass(frozen=True)
class PersonalSearch:
    """How the search is done.

    Attributes:
        steps: of Adam (MyStyle: 1000).
        learning_rate: for the weights (MyStyle: 5e-3).
        beta: how far weights may lie below 0.
        layers: also change each layer's style (W+); the changes are held near 0.
        coordinates: L [d, d] of ``everface.engine.latents.coordinates.coordinates_of``: a layer's change is v L
            with v held near 0; with it the same steps come much nearer to the photo.
    """

    steps: int = 150
    learning_rate: float = 0.02
    beta: float = MYSTYLE_BETA
    layers: bool = False
    coordinates: Floats | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 100_000:
            raise UsageError("steps", expected="1 to 100000", found=str(self.steps))
        if not 0 < self.learning_rate <= 10:
            raise UsageError("learning_rate", expected="above 0, at most 10", found=str(self.learning_rate))
        if not 0 <= self.beta <= 1:
            raise UsageError("beta", expected="0 to 1", found=str(self.beta))


@dataclass(frozen=True, eq=False)
class PersonalCode:
    """The face that explains a photo.

    Attributes:
        styles: [num_ws, w_dim] float32, W+ code (equal rows unless layers were searched).
        weights: [m] float64 over the anchors, sum 1, each at least about -beta.
        loss: of its picture against the target.
    """

    styles: Floats
    weights: NDArray[np.float64]
    loss: float


def search_personal(
    model: FaceModel,
    target: Targets,
    camera: NDArray[np.floating],
    anchors: NDArray[np.floating],
    start: NDArray[np.floating],
    *,
    search: PersonalSearch | None = None,
    on_progress: OnProgress = ignore_progress,
) -> PersonalCode:
    """Finds the personal code whose picture, degraded as the target is, is nearest to it.

    Args:
        model: the personal generator.
        target: one photo.
        camera: [camera_dim] from where the photo sees the person; empty in 2D.
        anchors: [m, w_dim] W codes of the person.
        start: [m] weights to begin with, such as those of a projection onto the hull.
        search: how.
        on_progress: hears the stage ``"search"``.

    Raises:
        UsageError: shapes that do not fit.
        NumericalError: the search left the finite numbers.
    """
    search = search or PersonalSearch()
    points, shape = np.asarray(anchors, np.float32), model.shape
    _require_fit(points, np.shape(start), target, search.coordinates, shape.w_dim)
    raw = Adam(_inverse(np.asarray(start, np.float32), search.beta), (0.9, 0.99))
    change = Adam(np.zeros((shape.num_ws, shape.w_dim), np.float32), (0.9, 0.99))

    def code() -> Floats:
        styles = displaced(_weights(raw.values, search.beta)[0] @ points, change.values, search.coordinates)
        return join_camera(styles[None], camera[None])

    reporter = ProgressReporter("search", search.steps, on_progress)
    for step in range(search.steps):
        rate = search.learning_rate * min(1.0, 2 * (search.steps - step) / search.steps)
        losses, slopes = model.loss_and_gradient(code(), target)
        slope = slopes[0, :, : shape.w_dim]
        if search.layers:
            by_change = slope if search.coordinates is None else slope @ search.coordinates.T
            change_slope = by_change + 2 * _LAYER_WEIGHT / change.values.size * change.values
        raw.step(_slope_of_raw(raw.values, points @ slope.sum(axis=0), search.beta), rate)
        if search.layers:
            change.step(change_slope, rate)
        reporter.advance(1, float(losses[0]))
    styles = code()
    final = float(model.losses(styles, target)[0])
    if not np.isfinite(final):
        remedy = "use a smaller learning rate"
        raise NumericalError("search", expected="a finite loss", found=str(final), remedy=remedy)
    weights = _weights(raw.values, search.beta)[0].astype(np.float64)
    return PersonalCode(np.ascontiguousarray(styles[0, :, : shape.w_dim]), weights, final)


def _require_fit(
    points: Floats, start: tuple[int, ...], target: Targets, coordinates: Floats | None, w_dim: int
) -> None:
    if points.ndim != 2 or start != (len(points),) or len(target) != 1 or points.shape[1] != w_dim:
        given = f"anchors {points.shape}, start {start}, {len(target)} targets"
        raise UsageError("anchors", expected=f"[m, {w_dim}], start [m] and one target", found=given)
    if coordinates is not None and coordinates.shape != (w_dim, w_dim):
        raise UsageError("coordinates", expected=f"({w_dim}, {w_dim})", found=str(coordinates.shape))


def _softplus(x: Floats) -> Floats:
    sharp = _SHARPNESS * x
    return np.asarray((np.maximum(sharp, 0) + np.log1p(np.exp(-np.abs(sharp)))) / _SHARPNESS, np.float32)


def _weights(raw: Floats, beta: float) -> tuple[Floats, float]:
    """Weights of sum 1, each above -beta before they are normalised, and the sum that they had."""
    lifted = _softplus(raw + np.float32(beta)) - np.float32(beta)
    total = float(lifted.sum())
    return np.asarray(lifted / max(total, _SMALLEST), np.float32), total


def _slope_of_raw(raw: Floats, slope: Floats, beta: float) -> Floats:
    """Derivative by the raw values of the loss, whose derivative by the weights is given, plus the sum's penalty."""
    weights, total = _weights(raw, beta)
    # Where the sum is held at its least value, the weights depend on their own raw value alone.
    shared = float(slope @ weights) if total > _SMALLEST else 0.0
    by_lifted = (slope - shared) / max(total, _SMALLEST) + 2 * _SUM_WEIGHT * (total - 1)
    sharp = np.clip(_SHARPNESS * (raw + beta), -80, 80)
    return np.asarray(by_lifted / (1 + np.exp(-sharp)), np.float32)


def _inverse(weights: Floats, beta: float) -> Floats:
    """Raw values that give about these weights; those at the bound start a little above it, where slopes are felt."""
    lifted = np.maximum(weights + beta, 0.005)
    # softplus(x) = y has x = y + log(1 - exp(-y)).
    return np.asarray(lifted + np.log(-np.expm1(-_SHARPNESS * lifted)) / _SHARPNESS - beta, np.float32)
