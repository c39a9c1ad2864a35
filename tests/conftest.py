"""What all tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from everface import _native
from everface.engine.config import EngineConfig
from everface.engine.learn.backend import Backend, LossConfig
from everface.engine.learn.torch_backend import TorchBackend
from everface.engine.perception.losses import ReconstructionLoss

# One thread each: the suite runs a process a core, and threads that wait for each other would only wait longer.
torch.set_num_threads(1)
_native.set_threads(1)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of development data, which a user does not have."""
    if not SHARED.is_dir():
        pytest.skip(f"no development data: {SHARED} is absent")
    return SHARED


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator file of 16 pixels with random weights: every step of the engine runs on it in milliseconds."""
    from everface.engine.generators.stylegan2.config import StyleGAN2Config
    from everface.engine.generators.stylegan2.generator import Generator

    config = StyleGAN2Config(resolution=16, z_dim=32, w_dim=32, mapping_layers=2, channel_base=128, channel_max=16)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        generator = Generator(config)
    path = tmp_path_factory.mktemp("base") / "tiny.safetensors"
    path.write_bytes(generator.to_bytes({"terms": "test data"}))
    return path


@pytest.fixture(scope="session")
def tiny_3d(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 3D generator file of 16 pixels with random weights and matter in the middle of its cube."""
    from everface.engine.generators.eg3d.config import EG3DConfig, RenderConfig
    from everface.engine.generators.eg3d.generator import TriPlaneGenerator
    from everface.engine.generators.stylegan2.config import StyleGAN2Config

    backbone = StyleGAN2Config(16, 32, 32, mapping_layers=2, channel_base=128, channel_max=16, img_channels=12)
    config = EG3DConfig(
        backbone, 16, 16, superresolution="none", decoder_hidden=8, render=RenderConfig(samples=6, importance_samples=6)
    )
    with torch.random.fork_rng():
        torch.manual_seed(9)
        generator = TriPlaneGenerator(config)
    with torch.no_grad():
        generator.decoder.net[2].bias[0] = 5.0
    path = tmp_path_factory.mktemp("base3d") / "tiny3d.safetensors"
    path.write_bytes(generator.to_bytes({"terms": "test data"}))
    return path


class BlurDistance(torch.nn.Module):
    """Stands in for the perceptual network where a test is about something else: compares 4x4 averages."""

    def features(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (torch.nn.functional.avg_pool2d(images, images.shape[-1] // 4),)

    def distance(self, a: tuple[torch.Tensor, ...], b: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return (a[0] - b[0]).square().mean(dim=(1, 2, 3))


@pytest.fixture(scope="session")
def quick_loss() -> ReconstructionLoss:
    return ReconstructionLoss(BlurDistance(), 1.0)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def quick_backend(tiny_base: Path, quick_loss: ReconstructionLoss) -> Callable[..., Backend]:
    """Makes PyTorch backends of the tiny generator, with a loss that takes no time; settings by name."""

    def make(**settings: Any) -> Backend:
        backend = TorchBackend(EngineConfig(**{"base": str(tiny_base)} | settings), LossConfig())
        backend.__dict__["loss"] = quick_loss
        return backend

    return make
