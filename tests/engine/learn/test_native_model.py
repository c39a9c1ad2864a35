"""The native learning core against PyTorch in float64 and against the PyTorch backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from everface import _native
from everface.engine.config import EngineConfig, TuneConfig
from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.generators.stylegan2.weights import StyleGAN2Weights
from everface.engine.latents.degradation import Degradation
from everface.engine.latents.model import Floats
from everface.engine.learn.backend import LossConfig
from everface.engine.learn.native_backend import NativeBackend
from everface.engine.learn.native_model import NativeLearner, NativeModel
from everface.engine.learn.torch_backend import TorchBackend
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.perception.perceptual import PerceptualDistance

Make = Callable[[int], NativeBackend]


@pytest.fixture(params=[False, True], ids=["float32", "bfloat16"])
def fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether products are made in bfloat16, on whatever processor."""
    monkeypatch.setattr(_native, "fast_bf16", lambda: request.param)
    return bool(request.param)


@pytest.fixture
def make(tiny_base: Path, fast: bool) -> Make:
    """A native backend on the tiny base, of a LoRA of some rank."""
    return lambda rank: NativeBackend(EngineConfig(str(tiny_base), tune=TuneConfig(lora_rank=rank)), LossConfig())


def codes_of(n: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal((n, 32), np.float32)


def photos(n: int, side: int = 16, seed: int = 0) -> np.ndarray:
    """Smooth pictures: features of noise saturate."""
    small = np.random.default_rng(seed).integers(0, 256, (n, 4, 4, 3))
    large = small.repeat(side // 4, axis=1).repeat(side // 4, axis=2)
    return np.asarray((large + np.roll(large, 1, 1) + np.roll(large, 2, 2)) // 3, np.uint8)


def relative(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


class Reference:
    """The whole step in PyTorch, float64 by default."""

    def __init__(self, weights: StyleGAN2Weights, images: np.ndarray, dtype: torch.dtype = torch.float64) -> None:
        self.synthesis = Generator.from_weights(weights).to(dtype).synthesis.requires_grad_(True)
        self.loss = ReconstructionLoss(PerceptualDistance.load().to(dtype))
        self.targets = self.loss.prepare(torch.from_numpy(images).permute(0, 3, 1, 2).to(dtype) / 127.5 - 1)
        self.dtype = dtype

    def losses(self, codes: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
        return self.loss(self.synthesis(codes, dtype=dtype), self.targets)

    def code_gradient(self, codes: Floats, dtype: torch.dtype | None = None) -> tuple[np.ndarray, np.ndarray]:
        w = torch.from_numpy(codes).to(self.dtype).requires_grad_(True)
        losses = self.losses(w, dtype)
        return losses.detach().numpy(), torch.autograd.grad(losses.sum(), w)[0].numpy()


def test_losses_and_slopes_are_those_of_float64(make: Make, fast: bool) -> None:
    backend = make(0)
    weights, images = backend.base.weights, photos(3)
    reference = Reference(weights, images)
    targets, plain = backend.prepare(images), codes_of(3)
    layers = np.repeat(plain[:, None], weights.config.num_ws, axis=1) + np.float32(0.1) * np.random.default_rng(
        1
    ).standard_normal((3, weights.config.num_ws, 32)).astype(np.float32)
    for codes in (plain, layers):
        expected, slope = reference.code_gradient(codes)
        # In bfloat16 twice the error of PyTorch, whose perceptual network then is in float32.
        bound = 1e-4
        if fast:
            _, rounded = Reference(weights, images, torch.float32).code_gradient(codes, torch.bfloat16)
            bound = 2 * max(relative(rounded, slope), 2e-2)
        losses, slopes = backend.model(None).loss_and_gradient(codes, targets)
        assert losses.dtype == slopes.dtype == np.float32
        np.testing.assert_allclose(losses, expected, rtol=2e-2 if fast else 1e-5)
        assert relative(slopes, slope) < bound
        np.testing.assert_allclose(backend.model(None).losses(codes, targets), expected, rtol=1e-4)


def test_a_step_is_adams(make: Make, fast: bool) -> None:
    if fast:
        pytest.skip("the sign of a small gradient may differ")
    backend = make(0)
    images, codes = photos(4), codes_of(4)
    learner, targets = backend.learner(None), backend.prepare(images)
    reference = Reference(backend.base.weights, images)
    parameters = dict(reference.synthesis.named_parameters())
    adam = torch.optim.Adam(parameters.values(), lr=1e-3, betas=(0.9, 0.999))
    index = np.array([3, 1, 0])
    for _ in range(3):
        adam.zero_grad()
        loss = reference.losses(torch.from_numpy(codes).double())[torch.from_numpy(index)].mean()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        assert learner.step(codes, targets, index, 1e-3) == pytest.approx(float(loss), rel=1e-4)
    tuned = StyleGAN2Weights.from_bytes(learner.model_bytes(), "model").arrays
    for name, parameter in parameters.items():
        # Adam's first steps are of the gradient's sign: where it is rounding alone they may go either way.
        difference = np.abs(tuned[f"synthesis.{name}"] - parameter.detach().numpy())
        assert np.mean(difference) < 3e-4, name


@pytest.mark.parametrize("rank", [0, 2])
def test_learning_ends_where_pytorch_ends(make: Make, rank: int, tiny_base: Path) -> None:
    native = make(rank)
    other = TorchBackend(EngineConfig(str(tiny_base), tune=TuneConfig(lora_rank=rank)), LossConfig())
    images, codes, index = photos(4), codes_of(4), np.arange(4)
    losses = []
    for backend in (native, other):
        content = backend.learner(None).model_bytes() if rank == 0 else other.learner(None).model_bytes()
        learner, targets = backend.learner(content), backend.prepare(images)
        for _ in range(20):
            learner.step(codes, targets, index, 5e-3)
        losses.append(float(backend.model(learner.model_bytes()).losses(codes, targets).mean()))
    before = float(native.model(None).losses(codes, native.prepare(images)).mean())
    assert losses[0] < before and losses[0] == pytest.approx(losses[1], rel=0.05)


@pytest.mark.parametrize("rank", [0, 1])
def test_an_interrupted_run_ends_with_the_same_bytes(make: Make, rank: int) -> None:
    backend = make(rank)
    images, codes = photos(5), codes_of(5)

    def steps(learner: NativeLearner, first: int, last: int) -> NativeLearner:
        targets = backend.prepare(images)
        for step in range(first, last):
            learner.step(codes, targets, np.array([step % 5, (step + 2) % 5]), 1e-3)
        return learner

    whole = steps(backend.learner(None), 0, 6).model_bytes()
    state = steps(backend.learner(None), 0, 3).state()
    resumed = backend.learner(None)
    resumed.restore(state)
    assert steps(resumed, 3, 6).model_bytes() == whole
    with pytest.raises(CheckpointError):
        resumed.restore({"values": np.zeros(3, np.float32)})


def test_degraded_targets_have_the_slopes_of_what_is_seen(make: Make, fast: bool, tiny_base: Path) -> None:
    native, other = make(0), TorchBackend(EngineConfig(str(tiny_base)), LossConfig())
    mask = np.ones((16, 16), np.float32)
    mask[:5] = 0
    degradation = Degradation(factor=2.0, blur=1.0, mask=mask)
    images, codes, index = photos(3), codes_of(3), np.array([2, 0])
    results = [
        backend.model(None).loss_and_gradient(codes, backend.prepare(images, degradation), index)
        for backend in (native, other)
    ]
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=3e-2)
    assert relative(results[0][1], results[1][1]) < 0.1
    seen = native.prepare(images, degradation)
    np.testing.assert_allclose(native.model(None).losses(codes, seen, index), results[1][0], rtol=3e-2)
    with pytest.raises(UsageError):
        native.learner(None).step(codes, seen, index, 1e-3)


@settings(max_examples=12, deadline=None)
@given(
    resolution=st.sampled_from([16, 32, 64]),
    base=st.sampled_from([64, 96, 256]),
    most=st.sampled_from([4, 20, 33]),
    colours=st.just(3),
    n=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_slopes_for_networks_of_many_shapes(
    resolution: int, base: int, most: int, colours: int, n: int, seed: int
) -> None:
    config = StyleGAN2Config(
        resolution=resolution, z_dim=8, w_dim=24, mapping_layers=1, channel_base=base, channel_max=most,
        img_channels=colours,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        arrays = {name: value.detach().numpy() for name, value in Generator(config).state_dict().items()}
    weights, images = StyleGAN2Weights(config, arrays), photos(n, resolution, seed)
    tensors = NativeBackend(EngineConfig(), LossConfig()).loss
    model = NativeModel(weights, tensors)
    codes = np.random.default_rng(seed).standard_normal((n, 24), np.float32)
    from everface.engine.learn.native_targets import NativeTargets

    targets = NativeTargets.of(tensors, images, None)
    expected, _ = Reference(weights, images).code_gradient(codes)
    np.testing.assert_allclose(model.losses(codes, targets), expected, rtol=1e-4)


def test_what_does_not_fit_is_refused(make: Make) -> None:
    backend = make(0)
    model, targets = backend.model(None), backend.prepare(photos(2))
    with pytest.raises(UsageError):
        model.render(np.zeros((1, 31), np.float32))
    with pytest.raises(UsageError):
        model.mesh(codes_of(1)[0], 8)
    with pytest.raises(ValueError, match="index"):
        model.losses(codes_of(2), targets, np.array([2]))
    with pytest.raises(ValueError, match="codes"):
        model.losses(codes_of(1), targets)
    with pytest.raises(ValueError, match="at least one"):
        backend.learner(None).step(codes_of(2), targets, np.zeros(0, np.int64), 1e-3)
