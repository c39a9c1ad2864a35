"""Export by the command: of 2D and 3D workspaces, to every target that runs here."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from everface.cli import run
from everface.engine.assets import asset_path
from everface.engine.learn.torch_backend import TorchBackend
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.photos.camera import orbit
from everface.export.runtime import Runtime
from everface.export.runtime.__main__ import main as open_bundle

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def workspaces(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tiny_3d: Path, quick_loss: ReconstructionLoss
) -> dict[str, Path]:
    """A workspace of either dimension after one update, made by the commands."""
    folder = tmp_path_factory.mktemp("workspaces")
    with zipfile.ZipFile(asset_path("demo_album.zip")) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("garden/") and name.endswith(".jpg"))[:3]
        archive.extractall(folder, names)
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TorchBackend, "loss", quick_loss)
        for dimension, base in (("2d", tiny_base), ("3d", tiny_3d)):
            made[dimension] = folder / f"{dimension}.everface"
            assert run(["init", str(made[dimension]), "--dimension", dimension, "--base", str(base)]) == 0
            assert run(["update", str(made[dimension]), str(folder / "garden"), "--max-minutes", "0.1"]) == 0
    return made


def exported(captured: Captured, *arguments: object) -> dict[str, Any]:
    captured.readouterr()
    assert run(["export", *map(str, arguments), "--json"]) == 0
    return dict(json.loads(captured.readouterr().out))


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_a_3d_workspace_to_one_onnx_file(workspaces: dict[str, Path], tmp_path: Path, capsys: Captured) -> None:
    told = exported(capsys, workspaces["3d"], "--to", "onnx", "--out", tmp_path / "me.onnx")
    assert [one["graph"] for one in told["files"]] == ["personal"]
    # The person's own codes are among those that it was compared on.
    assert told["anchors"] == 3
    assert told["files"][0]["parity"]["compared"] == 3 + 1 + 8
    cameras = orbit([-20.0, 20.0]).astype(np.float32)
    weights = np.eye(3, dtype=np.float32)[[0, 0]]
    [images] = session(tmp_path / "me.onnx").run(None, {"weights": weights, "c": cameras})
    assert images.shape == (2, 3, 16, 16)
    assert not np.allclose(images[0], images[1], atol=1e-3)


def test_a_3d_workspace_to_a_folder(workspaces: dict[str, Path], tmp_path: Path, capsys: Captured) -> None:
    told = exported(capsys, workspaces["3d"], "--to", "onnx", "--out", tmp_path / "me")
    assert [one["graph"] for one in told["files"]] == ["personal", "planes", "render"]
    [planes] = session(tmp_path / "me/planes.onnx").run(None, {"ws": np.zeros((1, 6, 32), np.float32)})
    views = session(tmp_path / "me/render.onnx")
    for yaw in (-20.0, 20.0):
        [image] = views.run(None, {"planes": planes, "c": orbit(yaw).astype(np.float32)})
        assert image.shape == (1, 3, 16, 16)


@pytest.mark.parametrize("dimension", ["2d", "3d"])
def test_a_bundle_shows_the_engines_pictures(
    workspaces: dict[str, Path], tmp_path: Path, capsys: Captured, dimension: str
) -> None:
    from everface.engine.session import Engine

    exported(capsys, workspaces[dimension], "--to", "bundle", "--out", tmp_path / "me.bundle")
    assert open_bundle([str(tmp_path / "me.bundle"), "-n", "2", "--out", str(tmp_path / "made")]) == 0
    assert len(list((tmp_path / "made").glob("*.png"))) == 2
    runtime = Runtime.open(tmp_path / "me.bundle")
    with Engine.open(workspaces[dimension], readonly=True) as engine:
        wanted = engine.generate(3, 7).astype(int)
    assert np.abs(runtime.generate(3, 7) - wanted).max() <= 2


@pytest.mark.parametrize("target", ["onnx", "ort", "bundle", "delta"])
def test_2d_exports_need_no_pytorch(workspaces: dict[str, Path], tmp_path: Path, target: str) -> None:
    command = ["export", str(workspaces["2d"]), "--to", target, "--out", str(tmp_path / f"me.{target}")]
    code = f"import sys; from everface.cli import run; sys.exit(run({command!r}) or 9 * ('torch' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"me.{target}").is_file()


@pytest.mark.parametrize("target", ["onnx", "ort", "delta"])
def test_a_2d_workspace(workspaces: dict[str, Path], tmp_path: Path, capsys: Captured, target: str) -> None:
    told = exported(capsys, workspaces["2d"], "--to", target, "--out", tmp_path / f"me.{target}")
    assert told["target"] == target
    assert told["files"][0]["bytes"] == (tmp_path / f"me.{target}").stat().st_size


@pytest.mark.parametrize(
    "options", [["--to", "delta"], ["--precision", "fp16"], ["--resolution", "8"], ["--variant", "custom"]]
)
def test_what_3d_lacks_is_told_with_what_works(
    workspaces: dict[str, Path], tmp_path: Path, capsys: Captured, options: list[str]
) -> None:
    capsys.readouterr()
    assert run(["export", str(workspaces["3d"]), *options, "--out", str(tmp_path / "me")]) == 2
    error = capsys.readouterr().err
    assert "choose --to onnx, ort, tensorrt, tensorrt-rtx or bundle, in fp32" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
