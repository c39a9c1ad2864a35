"""`everface import`, and what `init` makes of its result."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from everface.bench.torture.lookalikes import eg3d_pickle, mystyle_zip, nvidia_pickle, tiny_generator
from everface.bench.torture.pickling import Call, Name, pickled
from everface.cli import run
from everface.engine.generators.bases import load_base

Captured = pytest.CaptureFixture[str]


def everface(*arguments: object) -> int:
    return run([str(item) for item in arguments])


@pytest.mark.parametrize("resolution", [16, 128])
def test_an_imported_generator_is_a_base(tmp_path: Path, capsys: Captured, resolution: int) -> None:
    generator = tiny_generator(resolution=resolution, channel_base=128, w_dim=32, z_dim=32)
    source, out = tmp_path / "ffhq.pkl", tmp_path / "ffhq.safetensors"
    source.write_bytes(nvidia_pickle(generator))
    assert everface("import", source, "--out", out, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["architecture"] == "stylegan2"
    assert printed["settings"]["resolution"] == str(resolution)
    assert printed["sha256"] == load_base(str(out)).sha256
    workspace = tmp_path / "me.everface"
    assert everface("init", workspace, "--base", out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["base"] == str(out)


def test_text_names_the_notes(tmp_path: Path, capsys: Captured) -> None:
    source = tmp_path / "mystyle_model.pt"
    source.write_bytes(mystyle_zip(tiny_generator()))
    assert everface("import", source, "--out", tmp_path / "a.safetensors") == 0
    printed = capsys.readouterr().out
    assert "stylegan2-synthesis, 8 px" in printed
    assert "note: it has no mapping network" in printed


def test_what_cannot_be_a_base_is_told_so(tmp_path: Path, capsys: Captured) -> None:
    for name, data, word in (
        ("eg3d.pkl", eg3d_pickle(tiny_generator(c_dim=25)), "a 2d generator, found 3d"),
        ("labels.pkl", nvidia_pickle(tiny_generator(c_dim=25, resolution=16)), "no labels, found 25"),
        ("mystyle.pt", mystyle_zip(tiny_generator()), "--mapping"),
    ):
        (tmp_path / name).write_bytes(data)
        out = tmp_path / "out.safetensors"
        assert everface("import", tmp_path / name, "--out", out, "--json") == 0
        capsys.readouterr()
        assert everface("init", tmp_path / "me.everface", "--base", out) == 1
        assert word in capsys.readouterr().err
        assert not (tmp_path / "me.everface").exists()


def test_error_contract(tmp_path: Path, capsys: Captured) -> None:
    hostile, marker = tmp_path / "hostile.pkl", tmp_path / "ran"
    hostile.write_bytes(pickled(Call(Name("os", "system"), (f"touch {marker}",))))
    out = tmp_path / "out.safetensors"
    for code, arguments in ((1, (hostile, "--out", out)), (2, (tmp_path / "none.pkl", "--out", out)), (2, (hostile,))):
        assert everface("import", *arguments) == code
        printed, error = capsys.readouterr()
        assert printed == ""
        assert error.count("\n") == 1
        assert error.startswith("everface: ")
    assert everface("import", hostile, "--out", out) == 1
    error = capsys.readouterr().err
    for word in ("hostile.pkl", "os.system", "not imported"):
        assert word in error
    assert not marker.exists()
    assert not out.exists()


def test_no_pytorch_is_needed(tmp_path: Path) -> None:
    source = tmp_path / "ffhq.pkl"
    source.write_bytes(nvidia_pickle(tiny_generator()))
    command = ["import", str(source), "--out", str(tmp_path / "a.safetensors")]
    code = f"import sys; from everface.cli import run; sys.exit(run({command!r}) or 9 * ('torch' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
