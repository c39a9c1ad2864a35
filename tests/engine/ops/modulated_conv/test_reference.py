"""The reference against the paper's own formulation: weights modulated and demodulated for each sample."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from everface.engine.ops.modulated_conv.reference import demodulation, modulated_conv2d_reference
from everface.engine.ops.resample import fir_after_transpose


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_activations_may_be_scaled_instead_of_weights(up, demodulate):
    rng = torch.Generator().manual_seed(0)
    x, weight, styles, bias = (
        torch.randn(*size, generator=rng, dtype=torch.float64) for size in ((2, 3, 5, 6), (4, 3, 3, 3), (2, 3), (4,))
    )
    found = modulated_conv2d_reference(
        x, weight, styles, None, None, bias, up, demodulate, 0.2, math.sqrt(2), float("inf")
    )
    for sample in range(2):
        kernel = weight * styles[sample][None, :, None, None]
        if demodulate:
            kernel = kernel / (kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        image = x[sample : sample + 1]
        if up:
            image = fir_after_transpose(F.conv_transpose2d(image, kernel.transpose(0, 1), stride=2))
        else:
            image = F.conv2d(image, kernel, padding=1)
        expected = F.leaky_relu(image + bias[:, None, None], 0.2) * math.sqrt(2)
        torch.testing.assert_close(found[sample : sample + 1], expected)


def test_demodulation_gives_unit_variance():
    rng = torch.Generator().manual_seed(0)
    weight, styles = torch.randn(4, 3, 3, 3, generator=rng), torch.randn(2, 3, generator=rng)
    scale = demodulation(weight, styles)
    scaled = weight[None] * styles[:, None, :, None, None] * scale[:, :, None, None, None]
    torch.testing.assert_close(scaled.square().sum((2, 3, 4)), torch.ones(2, 4))
