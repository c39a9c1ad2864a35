"""The kernels as PyTorch's autograd sees them."""

from __future__ import annotations

import torch

from everface.engine.ops.modulated_conv.kernels import LayerSettings, ModulatedConvKernel


def test_gradients_are_given_where_they_are_asked_for():
    rng = torch.Generator().manual_seed(0)
    x, weight, styles, noise, bias = (
        torch.randn(*size, generator=rng, dtype=torch.float64)
        for size in ((2, 5, 7, 4), (6, 5, 3, 3), (2, 5), (1, 1, 14, 8), (6,))
    )
    tensors = [x, weight, styles, noise, torch.tensor(0.3, dtype=torch.float64), bias]
    settings = LayerSettings(True, True, 0.2, 1.4, 3e38)
    for wanted in ((0, 1, 2, 4, 5), (1,), (0, 5)):
        leaves = [one.clone().requires_grad_(i in wanted) for i, one in enumerate(tensors)]
        assert torch.autograd.gradcheck(lambda *args: ModulatedConvKernel.apply(settings, *args), leaves)
