"""The kernels as PyTorch's autograd sees them."""

from __future__ import annotations

import pytest
import torch

from everface.engine.ops.volume.kernels import MarchSettings, RenderVolumeKernel


@pytest.mark.parametrize("second", [True, False])
def test_gradients_are_given_where_they_are_asked_for(second):
    rng = torch.Generator().manual_seed(0)
    sizes = ((2, 3, 4, 5, 5), (6, 4), (6,), (5, 6), (5,))
    learned = [torch.randn(*size, generator=rng, dtype=torch.float64) for size in sizes]
    rays = [torch.randn(2, 4, 3, generator=rng, dtype=torch.float64) for _ in range(2)]
    depths = (1 + torch.arange(6.0, dtype=torch.float64) / 6).expand(2, 4, 6)
    quantiles = torch.rand(1, 4, 5, generator=rng, dtype=torch.float64) if second else None
    settings = MarchSettings(((0, 1), (0, 2), (2, 0)), 1.0, False, 0.0, 0.0)

    def render(*leaves):
        return RenderVolumeKernel.apply(settings, *leaves, *rays, depths, quantiles)

    everything = [one.clone().requires_grad_() for one in learned]
    wanted = torch.autograd.grad(sum(one.square().sum() for one in render(*everything)), everything)
    some = [one.clone().requires_grad_(i == 0) for i, one in enumerate(learned)]
    (planes,) = torch.autograd.grad(sum(one.square().sum() for one in render(*some)), some[:1])
    assert torch.equal(planes, wanted[0])
    assert all(one.abs().sum() > 0 for one in wanted)
