"""Search inside a person's subspace: hull weights over the anchors, and small changes of each layer's style.

MyStyle (Nitzan et al. 2022, section 4.2): the face that best explains a photo, among those that the person can have.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from everface.engine.errors import NumericalError, UsageError
from everface.engine.generators.protocol import Renderer
from everface.engine.latents.curvature import displaced
from everface.engine.latents.degradation import Degradation
from everface.engine.latents.hull import MYSTYLE_BETA
from everface.engine.numerics import compute_dtype, fast_numerics
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress

__all__ = ["PersonalCode", "PersonalSearch", "search_personal"]

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
        coordinates: L [d, d] of :func:`everface.engine.latents.curvature.coordinates_of`: a layer's change is v L with
            v held near 0; with it the same steps come much nearer to the photo.
        degradation: what happened to the photo.
    """

    steps: int = 150
    learning_rate: float = 0.02
    beta: float = MYSTYLE_BETA
    layers: bool = False
    degradation: Degradation = field(default_factory=Degradation)
    coordinates: Tensor | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 100_000:
            raise UsageError("steps", expected="1 to 100000", found=str(self.steps))
        if not 0 < self.learning_rate <= 10:
            raise UsageError("learning_rate", expected="above 0, at most 10", found=str(self.learning_rate))
        if not 0 <= self.beta <= 1:
            raise UsageError("beta", expected="0 to 1", found=str(self.beta))


@dataclass(frozen=True, eq=False)
class PersonalCode:
    """What was found.

    Attributes:
        styles: [num_ws, d] float32, W+ code (equal rows unless layers were searched).
        weights: [m] float64 over the anchors, sum 1, each at least about -beta.
        loss: of the degraded picture against the degraded photo.
    """

    styles: Tensor
    weights: NDArray[np.float64]
    loss: float


def search_personal(
    generator: Renderer,
    loss: ReconstructionLoss,
    photo: Float[Tensor, "1 3 r r"],
    anchors: NDArray[np.floating],
    start: NDArray[np.floating],
    *,
    search: PersonalSearch | None = None,
    on_progress: OnProgress = ignore_progress,
) -> PersonalCode:
    """Finds the personal code whose picture, degraded, is nearest to the photo.

    Args:
        generator: the personal one, in 3D seen from the photo's camera; not changed.
        loss: what near means.
        photo: aligned, in [-1, 1].
        anchors: [m, d] W codes of the person.
        start: [m] weights to begin with, such as those of a projection onto the hull.
        search: how, and what happened to the photo.
        on_progress: hears the stage ``"search"``.

    Raises:
        UsageError: shapes that do not fit.
        NumericalError: the search left the finite numbers.
    """
    search = search or PersonalSearch()
    degradation = search.degradation
    points = torch.from_numpy(np.asarray(anchors, np.float32))
    if points.ndim != 2 or np.shape(start) != (len(points),) or photo.ndim != 4 or len(photo) != 1:
        found = f"anchors {tuple(points.shape)}, start {np.shape(start)}, photo {tuple(photo.shape)}"
        raise UsageError("anchors", expected="[m, d], start [m], photo [1, 3, r, r]", found=found)
    if search.coordinates is not None and search.coordinates.shape != (points.shape[1], points.shape[1]):
        expected = f"({points.shape[1]}, {points.shape[1]})"
        raise UsageError("coordinates", expected=expected, found=str(tuple(search.coordinates.shape)))
    target = loss.prepare(degradation(photo))
    raw = _inverse(torch.from_numpy(np.asarray(start, np.float32)), search.beta).requires_grad_(True)
    change = torch.zeros(generator.num_ws, points.shape[1], requires_grad=search.layers)
    free = [{"params": [raw], "lr": search.learning_rate}]
    if search.layers:
        free.append({"params": [change], "lr": search.learning_rate})
    optimiser = torch.optim.Adam(free, betas=(0.9, 0.99))
    reporter, dtype = ProgressReporter("search", search.steps, on_progress), compute_dtype()
    for step in range(search.steps):
        for group in optimiser.param_groups:
            group["lr"] = search.learning_rate * min(1.0, 2 * (search.steps - step) / search.steps)
        optimiser.zero_grad(set_to_none=True)
        weights, total = _weights(raw, search.beta)
        styles = displaced((weights @ points)[None], change, search.coordinates)
        with fast_numerics():
            made = degradation(generator.render(styles[None], dtype=dtype))
            value = loss(made, target).sum()
            held = _SUM_WEIGHT * (total - 1).square() + _LAYER_WEIGHT * change.square().mean()
            (value + held).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        reporter.advance(1, float(value.detach()))
    with torch.no_grad():
        weights, _ = _weights(raw, search.beta)
        styles = displaced((weights @ points)[None], change, search.coordinates)
        final = float(loss(degradation(generator.render(styles[None])), target))
    if not np.isfinite(final):
        remedy = "use a smaller learning rate"
        raise NumericalError("search", expected="a finite loss", found=str(final), remedy=remedy)
    return PersonalCode(styles.detach(), weights.detach().double().numpy(), final)


def _weights(raw: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Weights of sum 1, each above -beta before they are normalised, and the sum that they had."""
    weights = F.softplus(raw + beta, beta=_SHARPNESS) - beta
    total = weights.sum()
    return weights / total.clamp_min(_SMALLEST), total


def _inverse(weights: Tensor, beta: float) -> Tensor:
    """Raw values that give about these weights; those at the bound start a little above it, where gradients flow."""
    lifted = (weights + beta).clamp_min(0.005)
    # softplus(x) = y has x = y + log(1 - exp(-y)).
    return lifted + torch.log(-torch.expm1(-_SHARPNESS * lifted)) / _SHARPNESS - beta
