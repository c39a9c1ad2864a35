"""The PyTorch backend against the generator it wraps: pictures, losses, slopes, Adam, model files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from everface.engine.config import EngineConfig, TuneConfig
from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.bases import load_base
from everface.engine.latents.degradation import Degradation
from everface.engine.latents.model import Floats, join_camera
from everface.engine.learn.backend import Backend, open_backend
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.photos.camera import orbit


@pytest.fixture(scope="module")
def backend(quick_backend: Callable[..., Backend]) -> Backend:
    return quick_backend()


def codes_of(backend: Backend, n: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal((n, backend.shape.w_dim), np.float32)


def images(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 16, 16, 3), np.uint8)


def test_the_shape_is_the_generators(backend: Backend, tiny_3d: Path) -> None:
    shape = backend.shape
    assert (shape.resolution, shape.w_dim, shape.z_dim, shape.camera_dim) == (16, 32, 32, 0)
    posed = open_backend(EngineConfig(str(tiny_3d), dimension="3d")).shape
    assert posed.camera_dim == 25 and posed.code_dim == posed.w_dim + 25


def test_pictures_are_those_of_the_network(backend: Backend, tiny_base: Path) -> None:
    generator, codes = load_base(str(tiny_base)).generator, codes_of(backend, 19)
    layers = np.random.default_rng(1).standard_normal((3, backend.shape.num_ws, 32)).astype(np.float32)
    for some in (codes, layers, codes[:0]):
        with torch.no_grad():
            expected = generator.synthesis(torch.from_numpy(some)).permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(backend.model(None).render(some), expected, atol=2e-5)
    z = np.random.default_rng(2).standard_normal((4, 32), np.float32)
    np.testing.assert_allclose(backend.model(None).map(z), generator.mapping(torch.from_numpy(z)).numpy(), atol=1e-6)


def test_losses_are_those_of_the_index(backend: Backend) -> None:
    model, codes, targets = backend.model(None), codes_of(backend, 20), backend.prepare(images(20))
    every = model.losses(codes, targets)
    assert every.shape == (20,)
    index = np.array([3, 3, 17])
    np.testing.assert_allclose(model.losses(codes, targets, index), every[index], rtol=1e-5)
    losses, slopes = model.loss_and_gradient(codes, targets, index)
    np.testing.assert_allclose(losses, every[index], rtol=2e-2)
    assert slopes.shape == (3, 32) and np.array_equal(slopes[0], slopes[1])
    assert len(model.losses(codes[:0], backend.prepare(images(0)))) == 0


def test_slopes_say_how_the_loss_changes(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("everface.engine.learn.torch_backend.compute_dtype", lambda: torch.float32)
    model, codes, targets = backend.model(None), codes_of(backend, 1), backend.prepare(images(1))
    _, slopes = model.loss_and_gradient(codes, targets)
    step = np.float32(1e-2) * slopes / np.linalg.norm(slopes)
    up, down = (float(model.losses(codes + sign * step, targets)[0]) for sign in (1, -1))
    assert (up - down) / 2e-2 == pytest.approx(float(np.linalg.norm(slopes)), rel=0.05)


def test_degraded_targets_degrade_the_pictures(backend: Backend) -> None:
    codes, photos = codes_of(backend, 2), images(2)
    mask = np.ones((16, 16), np.float32)
    mask[:8] = 0
    degradation = Degradation(2.0, 0.5, 0.4, mask)
    pictures = backend.model(None).render(codes)
    plain = backend.prepare(degradation.of_photo(photos / np.float32(127.5) - 1))
    hidden = backend.prepare(photos, degradation)
    model = backend.model(None)
    np.testing.assert_allclose(
        model.losses(codes, hidden), _loss_of(backend, degradation(pictures), plain), rtol=1e-4
    )  # fmt: skip
    with pytest.raises(UsageError, match="degraded"):
        backend.join(hidden, plain)


def _loss_of(backend: Backend, pictures: Floats, targets: object) -> Floats:
    loss: ReconstructionLoss = backend.loss  # type: ignore[attr-defined]
    prepared = targets.prepared  # type: ignore[attr-defined]
    return loss(torch.from_numpy(pictures).permute(0, 3, 1, 2), prepared).numpy()


def test_bytes_and_floats_are_the_same_photos(backend: Backend) -> None:
    photos, codes, model = images(3), codes_of(backend, 3), backend.model(None)
    floats = backend.prepare(photos.astype(np.float32) / np.float32(127.5) - 1)
    np.testing.assert_allclose(model.losses(codes, floats), model.losses(codes, backend.prepare(photos)), rtol=1e-5)
    assert len(backend.join(floats, floats)) == 6
    for wrong in (photos[0], photos[:, :8], photos[..., :1]):
        with pytest.raises(UsageError, match="images"):
            backend.prepare(wrong)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_learner_becomes_its_model_file(quick_backend: Callable[..., Backend], rank: int) -> None:
    backend = quick_backend(tune=TuneConfig(lora_rank=rank))
    codes, targets, index = codes_of(backend, 3), backend.prepare(images(3)), np.array([0, 1, 2])
    learner, before = backend.learner(None), backend.model(None).losses(codes, targets)
    np.testing.assert_allclose(learner.losses(codes, targets), before, rtol=1e-5)
    for _ in range(20):
        learner.step(codes, targets, index, 3e-2 if rank else 3e-3)
    stored = backend.model(learner.model_bytes())
    assert stored.losses(codes, targets).mean() < 0.95 * before.mean()
    np.testing.assert_allclose(stored.losses(codes, targets), learner.losses(codes, targets), rtol=2e-2)
    np.testing.assert_allclose(learner.render(codes), stored.render(codes), atol=2e-2)
    np.testing.assert_array_equal(backend.model(None).losses(codes, targets), before)
    again = backend.learner(learner.model_bytes())
    assert again.model_bytes() == learner.model_bytes()


def test_states_go_back_and_forth(backend: Backend) -> None:
    codes, targets, index = codes_of(backend, 2), backend.prepare(images(2)), np.array([0, 1])
    learner, other = backend.learner(None), backend.learner(None)
    learner.step(codes, targets, index, 1e-3)
    state = learner.state()
    other.restore(state)
    for each in (learner, other):
        each.step(codes, targets, index, 1e-3)
    assert learner.model_bytes() == other.model_bytes()
    with pytest.raises(CheckpointError, match="state"):
        other.restore({"steps": np.array([1.0])})


def test_the_step_is_adams(backend: Backend, monkeypatch: pytest.MonkeyPatch, tiny_base: Path) -> None:
    monkeypatch.setattr("everface.engine.learn.torch_backend.compute_dtype", lambda: torch.float32)
    codes, targets, index = codes_of(backend, 2), backend.prepare(images(2)), np.array([0, 1])
    learner = backend.learner(None)
    plain = load_base(str(tiny_base)).generator.copy()
    parameters = plain.tunable_parameters()
    start = {name: value.clone() for name, value in parameters.items()}
    adam = torch.optim.Adam([value.requires_grad_(True) for value in parameters.values()], lr=1e-3)
    loss: ReconstructionLoss = backend.loss  # type: ignore[attr-defined]
    for _ in range(5):
        learner.step(codes, targets, index, 1e-3)
        adam.zero_grad()
        loss(plain.synthesis(torch.from_numpy(codes)), targets.prepared).mean().backward()  # type: ignore[attr-defined]
        adam.step()
    state = learner.state()
    for name, value in parameters.items():
        # Relative to what was learned, not to the weights, which hardly move in five updates.
        learned = torch.linalg.norm(value.detach() - start[name])
        apart = torch.linalg.norm(value.detach() - torch.from_numpy(np.array(state[f"weight.{name}"])))
        assert apart <= 1e-2 * learned + 1e-7, name


def test_models_belong_to_their_base(backend: Backend, quick_backend: Callable[..., Backend], tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(load_base(backend.base.name).generator.to_bytes({"terms": "other"}))
    content = backend.learner(None).model_bytes()
    with pytest.raises(CheckpointError, match="restore the base"):
        quick_backend(base=str(other)).model(content)
    with pytest.raises(CheckpointError):
        quick_backend(tune=TuneConfig(lora_rank=1)).learner(content)


def test_a_head_is_seen_from_its_camera(tiny_3d: Path, quick_backend: Callable[..., Backend]) -> None:
    backend = quick_backend(base=str(tiny_3d), dimension="3d")
    styles = codes_of(backend, 1).repeat(2, 0)
    codes, model = join_camera(styles, orbit([-30.0, 30.0])), backend.model(None)
    pictures = model.render(codes)
    assert np.abs(pictures[0] - pictures[1]).max() > 1e-3
    losses, slopes = model.loss_and_gradient(codes, backend.prepare(images(2)))
    assert np.isfinite(losses).all() and np.abs(slopes[:, :32]).max() > 0 and not slopes[:, 32:].any()
    with pytest.raises(UsageError, match="3D"):
        quick_backend().model(None).mesh(codes[0, :32], 24)


def test_faces_have_codes_and_identities(backend: Backend) -> None:
    assert backend.encode(images(2)) is None
    assert backend.coordinates is None
    assert backend.embed(images(0)).shape == (0, 128)
    assert backend.mean.shape == (32,)
