"""The network layer by layer is the plain one, on the kernels and without them, with any number of colours."""

from __future__ import annotations

import pytest
import torch
from tests.engine.ops.synthesis.networks import W_DIM, small_network

from everface.engine.ops.synthesis.layers import synthesize_by_layers


@pytest.mark.parametrize("impl", ["reference", "cpu"])
@pytest.mark.parametrize("colours", [3, 32])
def test_images_and_gradients_are_the_plain_networks(impl, colours):
    network = small_network(clamp=2.0, colours=colours).double()
    ws = torch.randn(2, network.config.num_ws, W_DIM, dtype=torch.float64, requires_grad=True)
    mine = synthesize_by_layers(network.weights(), ws, dtype=torch.float64, impl=impl)
    plain = network(ws)
    torch.testing.assert_close(mine, plain, rtol=1e-10, atol=1e-10)
    leaves = [ws, *network.parameters()]
    found, expected = (torch.autograd.grad(image.square().mean(), leaves) for image in (mine, plain))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_the_reference_has_second_derivatives():
    network = small_network(resolution=8).double()
    ws = torch.randn(1, W_DIM, dtype=torch.float64, requires_grad=True)

    def image(ws: torch.Tensor) -> torch.Tensor:
        full = ws[:, None].expand(-1, network.config.num_ws, -1)
        return synthesize_by_layers(network.weights(), full, dtype=torch.float64, impl="reference")[:, :, ::4, ::4]

    assert torch.autograd.gradgradcheck(image, (ws,))
