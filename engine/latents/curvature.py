"""Coordinates of W in which a search takes even steps: Gauss-Newton curvature of the loss, averaged over codes.

In W some directions repaint the whole face and most hardly show. Adam scales its steps by coordinate, which helps only
where such directions lie along coordinates; in W they do not. With H = E[J' J], J the derivative of what the loss
compares by the code, the search runs over v in ``w = start + v L``, L = (H + damping)^-1/2 (the Gauss-Newton matrix,
Schraudolph, Neural Computation 2002; its diagonal blocks by random products as in Martens et al., ICML 2012).
"""

from __future__ import annotations

import math

import safetensors.torch
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor

from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.stylegan2 import SynthesisNetwork
from everface.engine.generators.tensors import pack_tensors
from everface.engine.generators.weights import read_metadata
from everface.engine.numerics import fast_numerics
from everface.engine.ops.synthesis.learning import synthesize
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress

__all__ = ["coordinates_from_bytes", "coordinates_of", "coordinates_to_bytes", "displaced", "measure_curvature"]

_DAMPING = 0.1
_SCALE = 6.0
"""Root mean square of L's eigenvalues: with it the learning rate that suits W suits v."""


def measure_curvature(
    synthesis: SynthesisNetwork,
    loss: ReconstructionLoss,
    codes: Float[Tensor, "n d"],
    *,
    seed: int = 0,
    batch: int = 32,
    on_progress: OnProgress = ignore_progress,
) -> Float[Tensor, "d d"]:
    """Estimates E[J' J], J the derivative of features and pixels by the code, weighted as the loss weighs them.

    One product with J' and normal noise a code: its outer square has the expectation J' J.

    Args:
        synthesis: the generator's synthesis network.
        loss: what a search minimises.
        codes: W codes to average over, at least 1; a few hundred give useful coordinates.
        seed: of the noise.
        batch: codes at a time.
        on_progress: hears the stage ``"measure curvature"``, counted in codes.

    Returns:
        A positive semidefinite matrix, float64.

    Raises:
        UsageError: no codes.
    """
    if codes.ndim != 2 or not len(codes):
        raise UsageError("codes", expected="at least one code [n, d]", found=str(tuple(codes.shape)))
    noise = torch.Generator().manual_seed(seed)
    total = torch.zeros(codes.shape[1], codes.shape[1], dtype=torch.float64)
    reporter = ProgressReporter("measure curvature", len(codes), on_progress)
    for chunk in torch.split(codes.detach().cpu(), batch):
        w = chunk.clone().requires_grad_(True)
        with fast_numerics():
            pictures = synthesize(synthesis.weights(), w)
            compared = loss.perceptual.features(pictures)
            # The distance averages over positions and layers, the squared error over all numbers.
            probe = _noisy(pictures, noise) * math.sqrt(loss.mse_weight / pictures[0].numel())
            for layer in compared:
                probe = probe + _noisy(layer, noise) / math.sqrt(layer[0, 0].numel() * len(compared))
            (slope,) = torch.autograd.grad(probe, [w])
        total += slope.double().T @ slope.double()
        reporter.advance(len(chunk))
    curvature: Tensor = total / len(codes)
    return curvature


def _noisy(values: Tensor, noise: torch.Generator) -> Tensor:
    return (torch.randn(values.shape, generator=noise) * values).sum()


def coordinates_of(curvature: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """L = (H + damping)^-1/2, symmetric, float32, scaled for the learning rates that suit W.

    Args:
        curvature: H, from :func:`measure_curvature`.

    Raises:
        UsageError: H is not a finite square matrix, or zero.
    """
    square = curvature.ndim == 2 and curvature.shape[0] == curvature.shape[1]
    if not square or not torch.isfinite(curvature).all() or not curvature.any():
        raise UsageError("curvature", expected="a finite square matrix that is not zero", found=str(curvature.shape))
    values, vectors = torch.linalg.eigh(curvature.double())
    values = values.clamp_min(0)
    lengths = (values + _DAMPING * values.mean()).rsqrt()
    lengths *= _SCALE / lengths.square().mean().sqrt()
    found: Tensor = ((vectors * lengths) @ vectors.T).float()
    return found


def displaced(origin: Tensor, moved: Tensor, coordinates: Tensor | None) -> Tensor:
    """``origin + moved L`` [..., d], or the plain sum without coordinates."""
    return origin + (moved if coordinates is None else moved @ coordinates)


def coordinates_to_bytes(coordinates: Float[Tensor, "d d"], base_sha256: str) -> bytes:
    """Writes coordinates as safetensors in half precision, bound to the base that they were measured on."""
    metadata = {"architecture": "everface-coordinates", "base_sha256": base_sha256}
    return pack_tensors({"coordinates": coordinates.half()}, metadata)


def coordinates_from_bytes(data: bytes, subject: str, base_sha256: str) -> Float[Tensor, "d d"]:
    """Reads :func:`coordinates_to_bytes`.

    Args:
        data: the whole file.
        subject: what to call it in errors.
        base_sha256: of the base that they shall belong to.

    Raises:
        CheckpointError: not such a file, or one of another base.
    """
    try:
        found: Tensor = safetensors.torch.load(data)["coordinates"].float()
        whose = read_metadata(data, subject).get("base_sha256", "unknown")
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(subject, expected="coordinates of a base", found=str(error)[:200]) from error
    if whose != base_sha256:
        remedy = "measure them anew with `everface pretrain`, or delete the file"
        raise CheckpointError(subject, expected=f"base {base_sha256[:12]}", found=whose[:12], remedy=remedy)
    if found.ndim != 2 or found.shape[0] != found.shape[1] or not torch.isfinite(found).all():
        raise CheckpointError(subject, expected="a finite square matrix", found=str(tuple(found.shape)))
    return found
