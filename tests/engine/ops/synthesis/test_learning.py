"""The whole-network kernel against the plain network: images, gradients, inversion, and a whole optimiser step."""

from __future__ import annotations

import pytest
import torch
from tests.engine.ops.synthesis.networks import small_network

from everface.engine.errors import MissingBackendError, UsageError
from everface.engine.generators.stylegan2.synthesis import SynthesisNetwork
from everface.engine.ops.synthesis.learning import synthesize


def _gradients(network: SynthesisNetwork, image: torch.Tensor, ws: torch.Tensor) -> dict[str, torch.Tensor]:
    named = {"ws": ws, **dict(network.named_parameters())}
    weights = torch.randn(image.shape, generator=torch.Generator().manual_seed(1)).to(image)
    found = torch.autograd.grad((image * weights).sum() / 10, list(named.values()))
    return {name: g.double() for name, g in zip(named, found, strict=True)}


@pytest.mark.parametrize(("clamp", "colours"), [(None, 3), (0.9, 3), (None, 1)])
def test_float64_gradients_are_exact(clamp, colours):
    network = small_network(clamp, colours).double()
    ws = torch.randn(3, network.config.num_ws, 24, dtype=torch.float64, requires_grad=True)
    mine, plain = synthesize(network.weights(), ws), network(ws)
    torch.testing.assert_close(mine, plain, rtol=1e-10, atol=1e-10)
    expected = _gradients(network, plain, ws)
    for name, gradient in _gradients(network, mine, ws).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-8, atol=1e-9, msg=name)


def test_float32_gradients_are_within_a_ten_thousandth():
    network = small_network()
    ws = torch.randn(4, network.config.num_ws, 24, requires_grad=True)
    found = _gradients(network, synthesize(network.weights(), ws), ws)
    exact = ws.detach().double().requires_grad_()
    network.double()
    expected = _gradients(network, network(exact), exact)
    for name, gradient in expected.items():
        # A strength's gradient is one sum over all pixels, most of which cancels.
        limit = 1e-4 * float(gradient.norm()) + (1e-3 if name.endswith("strength") else 0)
        assert float((found[name] - gradient).norm()) < limit, name


def test_bfloat16_gradients_err_at_most_twice_as_much_as_pytorch():
    network = small_network()
    ws = torch.randn(4, network.config.num_ws, 24, requires_grad=True)
    mine = _gradients(network, synthesize(network.weights(), ws, dtype=torch.bfloat16), ws)
    plain = _gradients(network, network(ws, dtype=torch.bfloat16), ws)
    exact = ws.detach().double().requires_grad_()
    network.double()
    truth = _gradients(network, network(exact), exact)

    def error(found: dict[str, torch.Tensor]) -> float:
        kept = [n for n in truth if not n.endswith("strength")]
        return sum(float(((found[n] - truth[n]).norm() / truth[n].norm()) ** 2) for n in kept) ** 0.5

    assert error(mine) < 2 * error(plain)


def test_inversion_needs_no_weight_gradients():
    network = small_network().requires_grad_(False)
    ws = torch.randn(2, 24, requires_grad=True)
    (mine,) = torch.autograd.grad(synthesize(network.weights(), ws).square().sum(), [ws])
    (plain,) = torch.autograd.grad(network(ws).square().sum(), [ws])
    torch.testing.assert_close(mine, plain, rtol=1e-3, atol=1e-3 * float(plain.abs().max()))


def test_backward_may_run_twice():
    network = small_network()
    image = synthesize(network.weights(), torch.randn(2, 24))
    first = torch.autograd.grad(image.sum(), [network.b4.const], retain_graph=True)
    assert torch.equal(first[0], torch.autograd.grad(image.sum(), [network.b4.const])[0])


def test_optimiser_steps_follow_the_plainsmall_network():
    losses = []
    for run in (lambda network, ws: synthesize(network.weights(), ws), SynthesisNetwork.__call__):
        network = small_network()
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
        ws, target = torch.ones(2, 24), torch.zeros(2, 3, 32, 32)
        for _ in range(5):
            optimiser.zero_grad()
            loss = (run(network, ws) - target).square().mean()
            loss.backward()
            optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_unsupported_networks_and_arguments_are_named():
    with pytest.raises(MissingBackendError, match="32 colours, of at most 4"):
        synthesize(small_network(colours=32).weights(), torch.randn(1, 24), impl="cpu")
    with pytest.raises(MissingBackendError, match="impl='cuda'"):
        synthesize(small_network().weights(), torch.randn(1, 24), impl="cuda")
    with pytest.raises(MissingBackendError, match="float32 styles"):
        synthesize(small_network().weights(), torch.randn(1, 24), dtype=torch.float64, impl="cpu")
    with pytest.raises(UsageError, match=r"^ws"):
        synthesize(small_network().weights(), torch.randn(1, 3, 24))


def test_more_colours_than_the_kernel_takes_go_layer_by_layer():
    network = small_network(colours=32)
    ws = torch.randn(1, 24)
    torch.testing.assert_close(synthesize(network.weights(), ws), network(ws), rtol=1e-4, atol=1e-5)


def test_a_weight_changed_between_the_passes_is_noticed():
    network = small_network()
    image = synthesize(network.weights(), torch.randn(1, 24))
    with torch.no_grad():
        network.b8.conv1.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        image.sum().backward()
