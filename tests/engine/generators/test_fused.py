"""The fused synthesis is the plain one: images, gradients, and a whole optimiser step."""

from __future__ import annotations

import copy

import pytest
import torch

from everface.engine.generators.fused import render
from everface.engine.generators.stylegan2 import StyleGAN2Config, SynthesisNetwork


def _network(clamp: float | None = None) -> SynthesisNetwork:
    torch.manual_seed(0)
    network = SynthesisNetwork(
        StyleGAN2Config(resolution=32, w_dim=16, channel_base=512, channel_max=32, conv_clamp=clamp)
    )
    for name, parameter in network.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(0.1)
    return network


def _gradients(network: SynthesisNetwork, image: torch.Tensor) -> dict[str, torch.Tensor]:
    network.zero_grad()
    image.square().mean().backward()
    return {name: p.grad.double().clone() for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("clamp", [None, 2.0])
def test_render_is_the_plain_network(clamp):
    network = _network(clamp)
    ws = torch.randn(3, network.config.num_ws, 16)
    mine, plain = render(network, ws, impl="cpu"), network(ws)
    assert (mine - plain).norm() < 1e-5 * plain.norm()
    found, expected = _gradients(network, mine), _gradients(network, plain)
    assert found.keys() == expected.keys()
    # A value within rounding of the clamp is cut or not by float32's order of sums, which differs between processors:
    # the plain network may err there, so the gradient is the plain network's in float32 or in float64.
    exact = copy.deepcopy(network).double()
    truth = _gradients(exact, exact(ws.double()))
    for name, gradient in expected.items():
        limit = 1e-4 * float(gradient.norm()) + 1e-7
        assert min(float((found[name] - one).norm()) for one in (gradient, truth[name])) < limit, name


def test_noise_images_and_one_style_for_all_layers():
    network = _network()
    ws, noises = torch.randn(2, 16), {"b8.conv1": torch.randn(2, 1, 8, 8)}
    torch.testing.assert_close(render(network, ws, noises), network(ws, noises), rtol=1e-4, atol=1e-5)


def test_bfloat16_errs_at_most_twice_as_much_as_pytorch():
    network = _network()
    ws = torch.randn(2, network.config.num_ws, 16)
    with torch.no_grad():
        truth = network.double()(ws.double())
        network.float()
        mine, plain = render(network, ws, dtype=torch.bfloat16), network(ws, dtype=torch.bfloat16)
    assert (mine - truth).norm() < 2 * (plain - truth).norm()
