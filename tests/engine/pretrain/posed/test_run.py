"""A whole 3D training run on a tiny base."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.eg3d.checkpoints import eg3d_from_bytes
from everface.engine.pretrain.posed import start
from everface.engine.pretrain.posed.config import Pretrain3DConfig
from everface.engine.pretrain.posed.run import pretrain_3d
from everface.engine.pretrain.posed.start import Shape3D


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = ["file,yaw,pitch"]
    for i in range(20):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / f"{i:02d}.png")
        rows.append(f"{i:02d}.png,{i - 10},-5")
    (folder / "meta.csv").write_text("\n".join(rows))
    return folder


def test_a_run_ends_resumes_and_writes(
    faces: Path, tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "_SETTLE_STEPS", 2)
    monkeypatch.setattr(start, "_FIT_SAMPLES", 4)
    shape = Shape3D(features=4, hidden=8, channel_max=8, samples=4)
    config = Pretrain3DConfig(shape, images=4, batch=2, rays=16, held_out=0.1)
    out = tmp_path / "b.safetensors"
    done = pretrain_3d(faces, out, config, base=str(tiny_base))
    assert done.shown == 4
    generator, told = eg3d_from_bytes(out.read_bytes(), "b")
    assert told["images_shown"] == "4"
    assert generator.config.backbone.channel_max == 8
    more = pretrain_3d(faces, out, dataclasses.replace(config, images=8), base=str(tiny_base))
    assert more.shown == 8
    assert more.grid.exists()
    with pytest.raises(CheckpointError, match="another --out"):
        pretrain_3d(faces, out, dataclasses.replace(config, batch=4), base=str(tiny_base))


@pytest.mark.parametrize("name", ["batch", "rays"])
def test_settings_have_ranges(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        Pretrain3DConfig(**{name: -1})  # type: ignore[arg-type]
