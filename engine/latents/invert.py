"""Inversion: the latent code whose picture is nearest to a photo.

W codes by optimisation from the mean (Abdal et al., "Image2StyleGAN", ICCV 2019; Karras et al., CVPR 2020, section
5), and W+ codes from a W code, as the paper's evaluation does. The images of a batch are optimised side by side and
independently of each other.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from everface.engine.config import InvertConfig
from everface.engine.errors import NumericalError, UsageError
from everface.engine.generators.protocol import Renderer
from everface.engine.latents.curvature import displaced
from everface.engine.numerics import compute_dtype, fast_numerics
from everface.engine.perception.losses import PreparedTargets, ReconstructionLoss
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress

__all__ = ["Inversion", "invert", "reconstruction_losses"]


# Even steps need less averaging to keep from swinging across narrow valleys: 5 % lower after 30 steps than with 0.9.
_MOMENTUM_IN_COORDINATES = 0.7


@dataclass(frozen=True, eq=False)
class Inversion:
    """Latent codes found for a batch.

    Attributes:
        codes: [n, w_dim] in W, or [n, num_ws, w_dim] in W+, float32; in 3D with the cameras that they began with.
        losses: [n] reconstruction loss of each, in full precision.
    """

    codes: Tensor
    losses: Tensor


def invert(  # noqa: PLR0913
    generator: Renderer,
    loss: ReconstructionLoss,
    targets: PreparedTargets,
    start: Float[Tensor, "*n d"],
    config: InvertConfig,
    *,
    coordinates: Float[Tensor, "d d"] | None = None,
    deadline: float | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Inversion:
    """Finds the codes whose pictures are nearest to the targets.

    Args:
        generator: whose weights stay as they are. Of 3D codes, which carry their cameras, only the styles are sought.
        loss: what near means.
        targets: n prepared images in [-1, 1].
        start: where to begin: [d] for all or [n, d] (search in W), or [n, num_ws, d] (search in W+).
        config: steps, Adam's learning rate, images at a time.
        coordinates: L of :func:`everface.engine.latents.curvature.coordinates_of`: the search runs over v in
            ``start + v L``, each layer by itself in W+; with them some 30 steps do what 300 do without.
        deadline: time.monotonic() by which to end with the codes found so far, None for none.
        on_progress: hears the stage ``"invert"``, counted in images times steps.

    Raises:
        UsageError: shapes that do not fit each other.
        NumericalError: the search left the finite numbers.
    """
    count = len(targets)
    codes = start.expand(count, -1) if start.ndim == 1 else start
    if codes.ndim not in (2, 3) or codes.shape[0] != count:
        raise UsageError("start", expected=f"codes for {count} images", found=str(tuple(start.shape)))
    width = codes.shape[-1] - generator.camera_dim
    if coordinates is not None and coordinates.shape != (width, width):
        raise UsageError("coordinates", expected=f"({width}, {width})", found=str(tuple(coordinates.shape)))
    reporter = ProgressReporter("invert", count * config.steps, on_progress)
    found, left = [], count
    for chunk in chunks_of(count, config.batch):
        # The time that is left is shared by the images that are left.
        seconds = None if deadline is None else (deadline - time.monotonic()) * len(chunk) / left
        search = _Search(config, coordinates, seconds, reporter)
        found.append(_invert_chunk(generator, loss, targets[chunk], codes[chunk], search))
        left -= len(chunk)
    result = torch.cat(found) if found else codes.clone()
    if not torch.isfinite(result).all():
        remedy = "use a smaller invert.learning_rate"
        raise NumericalError("inversion", expected="finite codes", found="NaN or infinity", remedy=remedy)
    return Inversion(result, reconstruction_losses(generator, loss, targets, result))


@dataclass(frozen=True, eq=False)
class _Search:
    config: InvertConfig
    coordinates: Tensor | None
    seconds: float | None
    reporter: ProgressReporter


def _invert_chunk(
    generator: Renderer, loss: ReconstructionLoss, targets: PreparedTargets, start: Tensor, search: _Search
) -> Tensor:
    config, began = search.config, time.monotonic()
    width = start.shape[-1] - generator.camera_dim
    camera = start[..., width:].detach()
    origin = start[..., :width].detach()
    moved = torch.zeros_like(origin).requires_grad_(True)
    momentum = 0.9 if search.coordinates is None else _MOMENTUM_IN_COORDINATES
    optimiser = torch.optim.Adam([moved], lr=config.learning_rate, betas=(momentum, 0.99))
    dtype = compute_dtype()
    for step in range(config.steps):
        late = search.seconds is not None and time.monotonic() - began > search.seconds
        if late and step:
            search.reporter.advance(len(origin) * (config.steps - step))
            break
        optimiser.param_groups[0]["lr"] = config.learning_rate * _ramp(step / config.steps)
        with fast_numerics():
            code = torch.cat([displaced(origin, moved, search.coordinates), camera], dim=-1)
            losses = loss(generator.render(code, dtype=dtype), targets)
            (moved.grad,) = torch.autograd.grad(losses.sum(), [moved])
        optimiser.step()
        search.reporter.advance(len(origin), float(losses.detach().mean()))
    return torch.cat([displaced(origin, moved, search.coordinates).detach(), camera], dim=-1)


def _ramp(t: float) -> float:
    """Learning rate over the search: up over the first twentieth, down over the last two fifths (after Karras 2020)."""
    return min(1.0, t / 0.05 + 0.1) * (0.5 - 0.5 * math.cos(math.pi * min(1.0, (1.0 - t) / 0.4)))


@torch.no_grad()
def reconstruction_losses(
    generator: Renderer, loss: ReconstructionLoss, targets: PreparedTargets, codes: Tensor, batch: int = 16
) -> Float[Tensor, " n"]:
    """The loss of each target's picture at its code, in float32."""
    chunks = chunks_of(len(targets), batch)
    found = [loss(generator.render(codes[chunk]), targets[chunk]) for chunk in chunks]
    return torch.cat(found) if found else torch.zeros(0)


def chunks_of(count: int, size: int) -> list[Tensor]:
    """Indices 0 .. count - 1 in groups of at most ``size``."""
    return [torch.arange(start, min(start + size, count)) for start in range(0, count, size)]
