"""The native synthesis against the plain network: images, gradients, inversion, and a whole optimiser step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from everface.engine.errors import MissingBackendError, UsageError
from everface.engine.generators.executor import SynthesisExecutor
from everface.engine.generators.stylegan2 import StyleGAN2Config, SynthesisNetwork
from everface.engine.generators.training import synthesize


def _network(clamp: float | None = None, colours: int = 3, resolution: int = 32) -> SynthesisNetwork:
    torch.manual_seed(0)
    config = StyleGAN2Config(
        resolution=resolution, w_dim=24, channel_base=512, channel_max=40, conv_clamp=clamp, img_channels=colours
    )
    network = SynthesisNetwork(config)
    for name, parameter in network.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(0.1)
        if name.endswith("bias"):
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return network


def _gradients(network: SynthesisNetwork, image: torch.Tensor, ws: torch.Tensor) -> dict[str, torch.Tensor]:
    named = {"ws": ws, **dict(network.named_parameters())}
    weights = torch.randn(image.shape, generator=torch.Generator().manual_seed(1)).to(image)
    found = torch.autograd.grad((image * weights).sum() / 10, list(named.values()))
    return {name: g.double() for name, g in zip(named, found, strict=True)}


@pytest.mark.parametrize(("clamp", "colours"), [(None, 3), (0.9, 3), (None, 1)])
def test_float64_gradients_are_exact(clamp, colours):
    network = _network(clamp, colours).double()
    ws = torch.randn(3, network.config.num_ws, 24, dtype=torch.float64, requires_grad=True)
    mine, plain = synthesize(network, ws), network(ws)
    torch.testing.assert_close(mine, plain, rtol=1e-10, atol=1e-10)
    expected = _gradients(network, plain, ws)
    for name, gradient in _gradients(network, mine, ws).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-8, atol=1e-9, msg=name)


def test_float32_gradients_are_within_a_ten_thousandth():
    network = _network()
    ws = torch.randn(4, network.config.num_ws, 24, requires_grad=True)
    found = _gradients(network, synthesize(network, ws), ws)
    exact = ws.detach().double().requires_grad_()
    network.double()
    expected = _gradients(network, network(exact), exact)
    for name, gradient in expected.items():
        # A strength's gradient is one sum over all pixels, most of which cancels.
        limit = 1e-4 * float(gradient.norm()) + (1e-3 if name.endswith("strength") else 0)
        assert float((found[name] - gradient).norm()) < limit, name


def test_bfloat16_gradients_err_at_most_twice_as_much_as_pytorch():
    network = _network()
    ws = torch.randn(4, network.config.num_ws, 24, requires_grad=True)
    mine = _gradients(network, synthesize(network, ws, dtype=torch.bfloat16), ws)
    plain = _gradients(network, network(ws, dtype=torch.bfloat16), ws)
    exact = ws.detach().double().requires_grad_()
    network.double()
    truth = _gradients(network, network(exact), exact)

    def error(found: dict[str, torch.Tensor]) -> float:
        kept = [n for n in truth if not n.endswith("strength")]
        return sum(float(((found[n] - truth[n]).norm() / truth[n].norm()) ** 2) for n in kept) ** 0.5

    assert error(mine) < 2 * error(plain)


def test_inversion_needs_no_weight_gradients():
    network = _network().requires_grad_(False)
    ws = torch.randn(2, 24, requires_grad=True)
    noises = {"b8.conv1": torch.randn(2, 1, 8, 8), "b32.conv0": torch.randn(1, 1, 32, 32)}
    (mine,) = torch.autograd.grad(synthesize(network, ws, noises).square().sum(), [ws])
    (plain,) = torch.autograd.grad(network(ws, noises).square().sum(), [ws])
    torch.testing.assert_close(mine, plain, rtol=1e-3, atol=1e-3 * float(plain.abs().max()))


def test_backward_may_run_twice():
    network = _network()
    image = synthesize(network, torch.randn(2, 24))
    first = torch.autograd.grad(image.sum(), [network.b4.const], retain_graph=True)
    assert torch.equal(first[0], torch.autograd.grad(image.sum(), [network.b4.const])[0])


def test_optimiser_steps_follow_the_plain_network():
    losses = []
    for run in (synthesize, SynthesisNetwork.__call__):
        network = _network()
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
        ws, target = torch.ones(2, 24), torch.zeros(2, 3, 32, 32)
        for _ in range(5):
            optimiser.zero_grad()
            loss = (run(network, ws) - target).square().mean()
            loss.backward()
            optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_executor_with_changing_batches(precision):
    network = _network(resolution=64)
    executor = SynthesisExecutor(network, precision=precision)
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    for batch in (1, 3, 0, 2):
        ws = torch.randn(batch, network.config.num_ws, 24)
        with torch.no_grad():
            truth = network.double()(ws.double())
            network.float()
            plain = network(ws, dtype=dtype)
        image = executor(ws)
        assert image.shape == truth.shape
        limit = 1e-5 * truth.norm() if precision == "fp32" else 2 * (plain - truth).norm()
        assert (image - truth).norm() <= limit
    assert executor.weight_bytes > 0


def test_executor_on_arrays_allocates_no_activations():
    network = _network()
    executor = SynthesisExecutor(network)
    ws = np.random.default_rng(0).standard_normal((2, network.config.num_ws, 24)).astype(np.float32)
    out = np.empty((2, 3, 32, 32), np.float32)
    executor.run_numpy(ws, out)
    before = executor.working_bytes
    again = executor.run_numpy(ws, np.empty_like(out))
    assert executor.working_bytes == before
    np.testing.assert_array_equal(out, again)
    with pytest.raises(UsageError, match=r"^out"):
        executor.run_numpy(ws, out.astype(np.float64))


def test_unsupported_networks_and_arguments_are_named():
    with pytest.raises(MissingBackendError, match="native synthesis"):
        synthesize(_network(colours=32), torch.randn(1, 24))
    with pytest.raises(UsageError, match=r"^ws"):
        synthesize(_network(), torch.randn(1, 3, 24))
    with pytest.raises(UsageError, match=r"^precision"):
        SynthesisExecutor(_network(), precision="int8")
