"""The kernels' registration with PyTorch."""

from __future__ import annotations

import pytest
import torch

from everface.engine.ops.volume.kernels import render_volume_kernel


@pytest.mark.parametrize("second", [True, False])
def test_opcheck(second):
    rng = torch.Generator().manual_seed(0)
    sizes = ((2, 3, 4, 5, 5), (6, 4), (6,), (5, 6), (5,))
    leaves = [torch.randn(*size, generator=rng).requires_grad_() for size in sizes]
    origins, directions = (torch.randn(2, 4, 3, generator=rng) for _ in range(2))
    depths, quantiles = 1 + torch.arange(6.0).expand(2, 4, 6) / 6, torch.rand(1, 4, 5, generator=rng)
    call = (*leaves, origins, directions, depths, quantiles if second else None, [0, 1, 0, 2, 2, 0])
    torch.library.opcheck(render_volume_kernel, (*call, [1.0, 0.0, 0.0], False))
