"""Adam is PyTorch's."""

from __future__ import annotations

import numpy as np
import torch

from everface.engine.latents.adam import Adam


def test_it_moves_as_torch_does() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((4, 8)).astype(np.float32)
    theirs = torch.from_numpy(values.copy()).requires_grad_(True)
    ours, adam = Adam(values, (0.7, 0.99)), torch.optim.Adam([theirs], lr=0.1, betas=(0.7, 0.99))
    for step in range(20):
        gradient = rng.standard_normal((4, 8)).astype(np.float32)
        adam.param_groups[0]["lr"] = 0.1 / (1 + step)
        theirs.grad = torch.from_numpy(gradient)
        adam.step()
        ours.step(gradient, 0.1 / (1 + step))
    np.testing.assert_allclose(ours.values, theirs.detach().numpy(), rtol=1e-5, atol=1e-6)
