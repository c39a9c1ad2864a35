"""Restoring held-out photos, on a tiny generator: which ways are measured, and what happens without a face."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everface.bench import portrait as bench
from everface.bench.album import Album, demo_album_in
from everface.engine.config import EngineConfig, InvertConfig, TuneConfig
from everface.engine.errors import NothingToDoError
from everface.engine.learn.torch_backend import TorchBackend
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.session import edit
from everface.engine.session import portrait as session


@pytest.fixture
def config(tiny_base: Path, quick_loss: ReconstructionLoss, monkeypatch: pytest.MonkeyPatch) -> EngineConfig:
    monkeypatch.setattr(TorchBackend, "loss", quick_loss)
    monkeypatch.setattr(bench, "BASE_SEARCH", replace(bench.BASE_SEARCH, steps=2))
    for verb in (edit, session):
        monkeypatch.setattr(verb, "SEARCH", InvertConfig(2))
    invert, tune = InvertConfig(2), TuneConfig(max_steps=3, settle_window=0)
    return EngineConfig(str(tiny_base), 64 * 1024, invert=invert, tune=tune)


@pytest.fixture
def album(tmp_path: Path) -> Album:
    whole = demo_album_in(tmp_path / "album")
    return Album("few", (whole.updates[0][:3],), (), whole.held_out[:2])


def test_every_way_stands_beside_the_base(album: Album, config: EngineConfig) -> None:
    rows, pictures = bench.measure_portraits(album, None, config, most=1)
    told = {row.case: row for row in rows}
    assert bench.RECONSTRUCT.name in told
    assert {row.peer for row in rows} == {"photo", "base"}  # the tiny base draws no face to edit
    assert all(-1 <= row.value <= 1 and row.repeats == 1 for row in rows)
    assert pictures.dtype == np.uint8
    assert pictures.std() > 0


def test_photos_without_a_face_are_no_numbers(album: Album, config: EngineConfig, tmp_path: Path) -> None:
    wall = tmp_path / "wall.png"
    Image.new("RGB", (200, 200), (90, 90, 90)).save(wall)
    with pytest.raises(NothingToDoError, match="held-out photo of a face"):
        bench.measure_portraits(replace(album, held_out=(wall,)), None, config)
