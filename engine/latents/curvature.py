"""Gauss-Newton curvature of the loss by the code, averaged over codes, for ``everface.engine.latents.coordinates``.

By random products, as Martens et al. (ICML 2012) measure its diagonal blocks.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from everface.engine.errors import UsageError
from everface.engine.generators.stylegan2.synthesis import SynthesisNetwork
from everface.engine.numerics import fast_numerics
from everface.engine.ops.synthesis.learning import synthesize
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress


def measure_curvature(
    synthesis: SynthesisNetwork,
    loss: ReconstructionLoss,
    codes: Tensor,
    *,
    seed: int = 0,
    batch: int = 32,
    on_progress: OnProgress = ignore_progress,
) -> NDArray[np.float64]:
    """Estimates E[J' J], J the derivative of features and pixels by the code, weighted as the loss weighs them.

    One product with J' and normal noise a code: its outer square has the expectation J' J.

    Args:
        synthesis: the generator's synthesis network.
        loss: what a search minimises.
        codes: [n, d] W codes to average over, at least 1; a few hundred give useful coordinates.
        seed: of the noise.
        batch: codes at a time.
        on_progress: hears the stage ``"measure curvature"``, counted in codes.

    Returns:
        A positive semidefinite matrix [d, d].

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
    return np.asarray((total / len(codes)).numpy())


def _noisy(values: Tensor, noise: torch.Generator) -> Tensor:
    return (torch.randn(values.shape, generator=noise) * values).sum()
