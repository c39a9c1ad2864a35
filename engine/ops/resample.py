"""The [1, 3, 3, 1] FIR of StyleGAN2 as shifted adds.

As a depthwise convolution the same filter is up to thirty times slower in PyTorch's CPU backward pass.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def fir_after_transpose(x: Tensor) -> Tensor:
    """Filters the result of a stride-2 transposed 3x3 convolution: [n, c, 2h + 1, 2w + 1] to [n, c, 2h, 2w].

    The filter has gain 4, since the transposed convolution inserted three zeros beside every value.
    """
    return _fir(_fir(F.pad(x, (1, 1, 1, 1)), 2), 3)


def _fir(x: Tensor, dim: int) -> Tensor:
    size = x.shape[dim] - 3
    a, b, c, d = (x.narrow(dim, k, size) for k in range(4))
    return (a + d) * 0.25 + (b + c) * 0.75


def upsample_2x(x: Tensor) -> Tensor:
    """Upsamples [n, c, h, w] to [n, c, 2h, 2w] by zero insertion and the FIR with gain 4, zero outside the image."""
    return _double(_double(x, 2), 3)


def _double(x: Tensor, dim: int) -> Tensor:
    # Half of the filter's taps meet inserted zeros: two taps remain for even and two for odd positions.
    size = x.shape[dim]
    padded = F.pad(x, (0, 0, 1, 1) if dim == 2 else (1, 1, 0, 0))
    near = x * 0.75
    even = near + padded.narrow(dim, 0, size) * 0.25
    odd = near + padded.narrow(dim, 2, size) * 0.25
    return torch.stack((even, odd), dim=dim + 1).flatten(dim, dim + 1)
