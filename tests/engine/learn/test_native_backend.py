"""The native backend gives what the PyTorch one gives, without PyTorch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from everface.engine.config import EngineConfig, TuneConfig
from everface.engine.errors import CheckpointError
from everface.engine.learn.backend import LossConfig, open_backend
from everface.engine.learn.native_backend import NativeBackend
from everface.engine.learn.torch_backend import TorchBackend


@pytest.fixture(scope="module")
def both(tiny_base: Path) -> tuple[NativeBackend, TorchBackend]:
    config = EngineConfig(str(tiny_base))
    return NativeBackend(config, LossConfig()), TorchBackend(config, LossConfig())


def test_it_is_the_default_in_2d(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_backend(EngineConfig(str(tiny_base))).name == "native"
    monkeypatch.setenv("EVERFACE_BACKEND", "torch")
    assert open_backend(EngineConfig(str(tiny_base))).name == "torch"


def test_maps_means_and_pictures_agree(both: tuple[NativeBackend, TorchBackend]) -> None:
    native, other = both
    assert native.shape == other.shape and native.base.sha256 == other.base.sha256
    z = np.random.default_rng(0).standard_normal((5, 32), np.float32)
    codes = native.model(None).map(z)
    np.testing.assert_allclose(codes, other.model(None).map(z), atol=1e-5)
    np.testing.assert_allclose(native.mean, other.mean, atol=1e-5)
    np.testing.assert_allclose(native.model(None).render(codes), other.model(None).render(codes), atol=2e-5)
    assert native.model(None).render(codes[:0]).shape == (0, 16, 16, 3)


def test_codes_and_descriptors_agree(both: tuple[NativeBackend, TorchBackend]) -> None:
    native, other = both
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    assert native.encode(images) is None  # no file beside the tiny base
    np.testing.assert_allclose(native.embed(images), other.embed(images), atol=1e-4)
    assert native.embed(images[:0]).shape == (0, 128)


@pytest.mark.parametrize("rank", [0, 2])
def test_model_files_are_read_by_either(tiny_base: Path, rank: int) -> None:
    config = EngineConfig(str(tiny_base), tune=TuneConfig(lora_rank=rank))
    native, other = NativeBackend(config, LossConfig()), TorchBackend(config, LossConfig())
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    codes = np.random.default_rng(1).standard_normal((2, 32), np.float32)
    learner = native.learner(None)
    for _ in range(3):
        learner.step(codes, native.prepare(images), np.arange(2), 1e-2)
    content = learner.model_bytes()
    pictures = native.model(content).render(codes)
    np.testing.assert_allclose(pictures, other.model(content).render(codes), atol=1e-4)
    assert not np.allclose(pictures, native.model(None).render(codes), atol=1e-3)
    assert native.learner(content).model_bytes() == content  # half precision is kept
    foreign = NativeBackend(EngineConfig("base64", tune=TuneConfig(lora_rank=rank)), LossConfig())
    with pytest.raises(CheckpointError):
        foreign.model(content)


def test_targets_are_joined_in_order(both: tuple[NativeBackend, TorchBackend]) -> None:
    native, _ = both
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    codes = np.random.default_rng(1).standard_normal((3, 32), np.float32)
    joined = native.join(native.prepare(images[:1]), native.prepare(images[1:]))
    np.testing.assert_array_equal(
        native.model(None).losses(codes, joined), native.model(None).losses(codes, native.prepare(images))
    )


def test_it_does_not_import_pytorch() -> None:
    program = (
        "import sys, everface.engine.learn.native_backend as n\n"
        "from everface.engine.config import EngineConfig\n"
        "from everface.engine.learn.backend import LossConfig\n"
        "import numpy as np\n"
        "b = n.NativeBackend(EngineConfig('base64'), LossConfig())\n"
        "i = np.zeros((1, 64, 64, 3), np.uint8)\n"
        "b.embed(i); c = b.encode(i); l = b.learner(None); l.step(c, b.prepare(i), np.arange(1), 1e-3)\n"
        "assert 'torch' not in sys.modules and len(l.model_bytes())\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
