"""Inversion: the latent code whose picture is nearest to a photo.

W codes by optimisation from the mean or an encoder's code (Abdal et al., "Image2StyleGAN", ICCV 2019; Karras et al.,
CVPR 2020, section 5), and W+ codes from a W code, as the paper's evaluation does. The images of a batch are optimised
side by side and independently of each other.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from everface.engine.config import InvertConfig
from everface.engine.errors import NumericalError, UsageError
from everface.engine.latents.adam import Adam
from everface.engine.latents.coordinates import displaced
from everface.engine.latents.model import FaceModel, Floats, Index, Targets
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress

__all__ = ["Inversion", "invert"]

# Even steps need less averaging to keep from swinging across narrow valleys: 5 % lower after 30 steps than with 0.9.
_MOMENTUM, _MOMENTUM_IN_COORDINATES = 0.9, 0.7


@dataclass(frozen=True, eq=False)
class Inversion:
    """Latent codes found for a batch.

    Attributes:
        codes: [n, code_dim] in W, or [n, num_ws, code_dim] in W+; in 3D with the cameras that they began with.
        losses: [n] reconstruction loss of each, in full precision.
    """

    codes: Floats
    losses: Floats


def invert(
    model: FaceModel,
    targets: Targets,
    start: Floats,
    config: InvertConfig,
    *,
    coordinates: Floats | None = None,
    deadline: float | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Inversion:
    """Finds the codes whose pictures are nearest to the targets.

    Args:
        model: the generator. Of 3D codes, which carry their cameras, only the styles are sought.
        targets: n prepared photos.
        start: where to begin: [code_dim] for all or [n, code_dim] (search in W), or [n, num_ws, code_dim] (in W+).
        config: steps, Adam's learning rate, images at a time, leash.
        coordinates: L [w_dim, w_dim] of ``everface.engine.latents.coordinates.coordinates_of``: the search runs
            over v in ``start + v L``, each layer by itself in W+; with them some 30 steps do what 300 do without.
        deadline: time.monotonic() by which to end with the codes found so far, None for none.
        on_progress: hears the stage ``"invert"``, counted in images times steps.

    Raises:
        UsageError: shapes that do not fit each other.
        NumericalError: the search left the finite numbers.
    """
    count, width = len(targets), model.shape.w_dim
    codes = np.array(np.broadcast_to(start, (count, *start.shape)) if start.ndim == 1 else start, np.float32)
    if codes.ndim not in (2, 3) or codes.shape[0] != count or codes.shape[-1] != model.shape.code_dim:
        raise UsageError("start", expected=f"codes for {count} images", found=str(start.shape))
    if coordinates is not None and coordinates.shape != (width, width):
        raise UsageError("coordinates", expected=f"({width}, {width})", found=str(coordinates.shape))
    search = _Search(model, targets, config, coordinates, ProgressReporter("invert", count * config.steps, on_progress))
    for first in range(0, count, config.batch):
        chunk = np.arange(first, min(first + config.batch, count))
        # The time that is left is shared by the images that are left.
        seconds = None if deadline is None else (deadline - time.monotonic()) * len(chunk) / (count - first)
        search.run(codes, chunk, seconds)
    if not np.isfinite(codes).all():
        remedy = "use a smaller invert.learning_rate"
        raise NumericalError("inversion", expected="finite codes", found="NaN or infinity", remedy=remedy)
    return Inversion(codes, model.losses(codes, targets) if count else np.zeros(0, np.float32))


@dataclass(frozen=True, eq=False)
class _Search:
    model: FaceModel
    targets: Targets
    config: InvertConfig
    coordinates: Floats | None
    reporter: ProgressReporter

    def run(self, codes: Floats, chunk: Index, seconds: float | None) -> None:
        """Moves rows ``chunk`` of the codes, within about so many seconds (one step at least)."""
        began, config, width = time.monotonic(), self.config, self.model.shape.w_dim
        origin = codes[chunk, ..., :width]
        momentum = _MOMENTUM if self.coordinates is None else _MOMENTUM_IN_COORDINATES
        moved = Adam(np.zeros_like(origin), (momentum, 0.99))
        for step in range(config.steps):
            if step and seconds is not None and time.monotonic() - began > seconds:
                self.reporter.advance(len(chunk) * (config.steps - step))
                break
            losses, slopes = self.model.loss_and_gradient(codes, self.targets, chunk)
            slopes = slopes[..., :width]
            if self.coordinates is not None:
                slopes = slopes @ self.coordinates.T
            slopes = slopes + np.float32(2 * config.leash / moved.values[0].size) * moved.values
            if config.layers and slopes.ndim == 3:
                slopes[:, config.layers :] = 0
            moved.step(slopes, config.learning_rate * _ramp(step / config.steps))
            codes[chunk, ..., :width] = displaced(origin, moved.values, self.coordinates)
            self.reporter.advance(len(chunk), float(losses.mean()))


def _ramp(t: float) -> float:
    """Learning rate over the search: up over the first twentieth, down over the last two fifths (after Karras 2020)."""
    return min(1.0, t / 0.05 + 0.1) * (0.5 - 0.5 * math.cos(math.pi * min(1.0, (1.0 - t) / 0.4)))
