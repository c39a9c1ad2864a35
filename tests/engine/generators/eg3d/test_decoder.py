"""The decoder of plane features."""

from __future__ import annotations

import torch

from everface.engine.generators.eg3d.decoder import OSGDecoder


def test_it_is_two_layers_with_a_widened_sigmoid() -> None:
    torch.manual_seed(0)
    decoder = OSGDecoder(4, 6, lr_multiplier=0.5).double()
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    first, second = decoder.net[0], decoder.net[2]
    hidden = torch.nn.functional.softplus(x @ (first.weight * 0.5 / 2).T + first.bias * 0.5)
    out = hidden @ (second.weight * 0.5 / 6**0.5).T + second.bias * 0.5
    densities, colours = decoder(x)
    torch.testing.assert_close(densities, out[..., :1])
    torch.testing.assert_close(colours, torch.sigmoid(out[..., 1:]) * 1.002 - 0.001)
    assert [tuple(one.shape) for one in decoder.matrices()] == [(6, 4), (6,), (5, 6), (5,)]
