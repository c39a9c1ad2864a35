"""A workspace that lives in milliseconds: a tiny base, few steps, and the embedded album of a synthetic person."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from everface import Engine, EngineConfig
from everface.engine.assets import asset_path
from everface.engine.config import InvertConfig, TuneConfig
from everface.engine.learn.torch_backend import TorchBackend
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.session import edit, portrait

NewEngine = Callable[..., Engine]


@pytest.fixture(scope="session")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("album")
    with zipfile.ZipFile(asset_path("demo_album.zip")) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def batches(album: Path) -> list[list[Path]]:
    """Three photos of each of three outings."""
    return [sorted((album / name).glob("*.jpg"))[:3] for name in ("garden", "office", "concert")]


@pytest.fixture
def config(tiny_base: Path) -> EngineConfig:
    invert, tune = InvertConfig(3), TuneConfig(6, 1e-3, settle_window=0)
    return EngineConfig(str(tiny_base), 64 * 1024, "er-hull", invert=invert, tune=tune)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, quick_loss: ReconstructionLoss) -> None:
    """The real perceptual network takes most of the time, and is tested elsewhere."""
    monkeypatch.setattr(TorchBackend, "loss", quick_loss)


@pytest.fixture
def short_search(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (edit, portrait):
        monkeypatch.setattr(module, "SEARCH", InvertConfig(4))


@pytest.fixture
def engine(tmp_path: Path, config: EngineConfig, quick: None) -> Engine:
    with Engine.create(tmp_path / "me.everface", config) as made:
        yield made
