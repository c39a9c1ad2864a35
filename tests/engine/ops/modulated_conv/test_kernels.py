"""The kernels' registration with PyTorch."""

from __future__ import annotations

import torch

from everface.engine.ops.modulated_conv.kernels import modulated_conv2d_kernel


def test_opcheck():
    rng = torch.Generator().manual_seed(0)
    x, weight, styles, noise, bias = (
        torch.randn(*size, generator=rng) for size in ((2, 5, 7, 4), (6, 5, 3, 3), (2, 5), (1, 1, 14, 8), (6,))
    )
    leaves = [tensor.requires_grad_() for tensor in (x, weight, styles, torch.tensor(0.3), bias)]
    call = (*leaves[:3], noise, *leaves[3:], True, True, [0.2, 1.4, 3e38])
    torch.library.opcheck(modulated_conv2d_kernel, call)
