"""The [1, 3, 3, 1] filter as shifted sums is the depthwise convolution of the paper."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from everface.engine.ops.resample import fir_after_transpose, upsample_2x

TAPS = torch.outer(*(torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 8 for _ in range(2)))


def filtered(x: torch.Tensor, padding: tuple[int, int, int, int]) -> torch.Tensor:
    kernel = (TAPS * 4).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(F.pad(x, padding), kernel, groups=x.shape[1])


def test_after_a_transposed_convolution():
    x = torch.randn(2, 3, 7, 9, dtype=torch.float64)
    torch.testing.assert_close(fir_after_transpose(x), filtered(x, (1, 1, 1, 1)))


def test_upsampling_inserts_zeros_and_filters():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    spread = torch.zeros(2, 3, 8, 10, dtype=torch.float64)
    spread[:, :, ::2, ::2] = x
    torch.testing.assert_close(upsample_2x(x), filtered(spread, (2, 1, 2, 1)))
