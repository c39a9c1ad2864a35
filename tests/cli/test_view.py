"""The commands of a 3D workspace."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everface.cli import run
from everface.commands.common import read_range
from everface.engine.assets import asset_path
from everface.engine.config import InvertConfig
from everface.engine.errors import UsageError
from everface.engine.generators.eg3d.mesh import Mesh
from everface.engine.learn.torch_backend import TorchBackend
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.session import Engine, portrait


@pytest.mark.parametrize(("text", "result"), [("-30..30", (-30, 30)), ("-20..-5", (-20, -5)), ("15", (15, 15))])
def test_ranges(text: str, result: tuple[float, float]) -> None:
    assert read_range(text) == result


@pytest.mark.parametrize("text", ["", "a..b", "-30...30", "1..2..3"])
def test_other_texts_are_no_ranges(text: str) -> None:
    with pytest.raises(UsageError, match=r"-30\.\.30"):
        read_range(text)


def test_a_head_is_learned_turned_and_written(
    tmp_path: Path,
    tiny_3d: Path,
    quick_loss: ReconstructionLoss,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(portrait, "SEARCH", InvertConfig(3))
    monkeypatch.setattr(TorchBackend, "loss", quick_loss)
    with zipfile.ZipFile(asset_path("demo_album.zip")) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("garden/"))[:3]
        archive.extractall(tmp_path, names)
    space, photo = str(tmp_path / "h.everface"), str(tmp_path / names[0])
    assert run(["init", space, "--dimension", "3d", "--base", str(tiny_3d)]) == 0
    assert run(["update", space, str(tmp_path / "garden"), "--max-minutes", "0.02"]) == 0
    assert run(["generate", space, "-n", "2", "--yaw", "-20..20", "--out", str(tmp_path / "made")]) == 0
    assert Image.open(tmp_path / "made" / "001.png").size == (16, 16)
    turning = tmp_path / "t.webp"
    capsys.readouterr()
    arguments = ["view", space, photo, "--yaw", "-30..30", "--frames", "3", "--out", str(turning), "--json"]
    assert run(arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["yaw"] == [-30, 0, 30]
    assert printed["seconds_per_view"] > 0
    with Image.open(turning) as image:
        assert image.n_frames == 4  # there and back
    # A random generator's head has no surface.
    corner = Mesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], np.int32), np.zeros((3, 3), np.uint8))
    monkeypatch.setattr(Engine, "mesh", lambda *_, **__: corner)
    assert run(["view", space, photo, "--out", str(tmp_path / "head.ply"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["triangles"] == 1
    assert (tmp_path / "head.ply").read_bytes().startswith(b"ply")
    assert run(["view", space, photo, "--out", str(tmp_path / "t.xyz")]) == 2
    assert ".ply" in capsys.readouterr().err
    assert run(["generate", space, "--yaw", "-200..20", "--out", str(tmp_path / "made")]) == 2
