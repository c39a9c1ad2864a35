"""Curvature of a known map, and refusal of bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from everface.engine.errors import UsageError
from everface.engine.generators.bases import load_base
from everface.engine.latents.curvature import measure_curvature
from everface.engine.latents.space import normal_z
from everface.engine.perception.losses import ReconstructionLoss


def test_curvature_tells_how_much_the_loss_rises(tiny_base: Path, quick_loss: ReconstructionLoss) -> None:
    # Near its minimum a loss of squared differences is d' J' J d, so H's form must predict it, averaged over codes.
    generator = load_base(str(tiny_base)).generator
    curvature = measure_curvature(generator.synthesis, quick_loss, generator.mapping(normal_z(1000, 32, 5)).detach())
    codes = generator.mapping(normal_z(60, 32, 6)).detach()
    targets = quick_loss.prepare(generator.synthesis(codes).detach())
    _, vectors = np.linalg.eigh(curvature)
    for k, size in ((0, 0.02), (16, 0.02), (31, 0.01)):
        step = torch.from_numpy((size * vectors[:, k]).astype(np.float32))
        with torch.no_grad():
            rise = float(quick_loss(generator.synthesis(codes + step), targets).mean())
        predicted = float(size * vectors[:, k] @ curvature @ (size * vectors[:, k]))
        assert 0.5 < rise / predicted < 2, (k, rise, predicted)
    with pytest.raises(UsageError, match="codes"):
        measure_curvature(generator.synthesis, quick_loss, torch.zeros(0, 32))
