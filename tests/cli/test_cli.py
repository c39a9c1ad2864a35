"""The command line: exit codes, one-line messages, JSON everywhere, and the contract's fields."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from everface.cli import run
from everface.engine.assets import asset_path
from everface.engine.config import EngineConfig, InvertConfig, TuneConfig
from everface.engine.learn.torch_backend import TorchBackend
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.session import Engine, edit, portrait

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    with zipfile.ZipFile(asset_path("demo_album.zip")) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("garden/") and name.endswith(".jpg"))
        for name in names[:3]:
            (folder / Path(name).name).write_bytes(archive.read(name))
    (folder / "notes.jpg").write_text("not a photo")
    return folder


@pytest.fixture(scope="module")
def learned(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, photos: Path, quick_loss: ReconstructionLoss
) -> Path:
    """A workspace after one update."""
    path = tmp_path_factory.mktemp("learned") / "me.everface"
    config = EngineConfig(str(tiny_base), 65536, invert=InvertConfig(2), tune=TuneConfig(2, settle_window=0))
    with pytest.MonkeyPatch.context() as patch, Engine.create(path, config) as engine:
        patch.setattr(TorchBackend, "loss", quick_loss)
        engine.update([photos])
    return path


def printed(captured: Captured, *arguments: object) -> dict[str, object]:
    assert run([str(item) for item in arguments]) == 0
    return dict(json.loads(captured.readouterr().out))


def complaint(captured: Captured, code: int, *arguments: object) -> str:
    assert run([str(item) for item in arguments]) == code
    out, error = captured.readouterr()
    assert out == ""
    assert error.startswith("everface: ")
    assert error.count("\n") == 1
    return error


def test_init_update_status(
    tmp_path: Path, tiny_base: Path, photos: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch,
    quick_loss: ReconstructionLoss,
) -> None:  # fmt: skip
    monkeypatch.setattr(TorchBackend, "loss", quick_loss)
    path = tmp_path / "me.everface"
    made = printed(capsys, "init", path, "--base", tiny_base, "--budget", "64KiB", "--policy", "er-rand", "--json")
    assert (made["timestamps"], made["budget_bytes"], made["policy"]) == (0, 65536, "er-rand")
    assert run(["update", str(path), str(photos), "--max-minutes", "0.000001", "--json"]) == 1
    out, error = capsys.readouterr()
    failed = json.loads(out)
    assert failed["stopped"] == "time" and len(failed["accepted"]) == 3 and "more time" in error
    done = printed(capsys, "update", path, photos, "--json")
    assert [set(photo) for photo in done["accepted"]] == [{"name"}] * 3
    assert done["after"] < done["before"] and done["stopped"] in ("settled", "steps")
    assert [(item["name"], item["reason"]) for item in done["rejected"]] == [("notes.jpg", "unreadable")]
    status = printed(capsys, "status", path, "--json")
    assert status["timestamps"] == 1
    assert status["model"] == done["model"]
    assert {"id", "timestamp", "bytes"} <= status["memories"][0].keys()
    assert status["used_bytes"] <= status["budget_bytes"]


def test_a_lora_workspace_is_made(tmp_path: Path, tiny_base: Path, capsys: Captured) -> None:
    path = tmp_path / "me.everface"
    printed(capsys, "init", path, "--base", tiny_base, "--lora-rank", "2", "--json")
    with Engine.open(path, readonly=True) as engine:
        assert engine.config.tune.lora_rank == 2


def test_text_output_is_for_people(learned: Path, capsys: Captured) -> None:
    assert run(["status", str(learned)]) == 0
    text = capsys.readouterr().out
    assert "1 updates, 3 photos kept by er-hull" in text


def test_generate_writes_pictures(learned: Path, tmp_path: Path, capsys: Captured) -> None:
    done = printed(capsys, "generate", learned, "-n", 3, "--out", tmp_path / "a", "--seed", 5, "--json")
    assert [Path(item).name for item in done["images"]] == ["000.png", "001.png", "002.png"]
    printed(capsys, "generate", learned, "-n", 3, "--out", tmp_path / "b", "--seed", 5, "--json")
    for name in ("000.png", "001.png", "002.png"):
        first, again = (np.asarray(Image.open(tmp_path / item / name)) for item in "ab")
        assert first.shape == (16, 16, 3)
        assert np.array_equal(first, again)
    printed(capsys, "generate", learned, "-n", 3, "--out", tmp_path / "c", "--grid", "--json")
    assert Image.open(tmp_path / "c" / "grid.png").size == (48, 16)


def test_report_export_check_compact(learned: Path, tmp_path: Path, capsys: Captured) -> None:
    page = printed(capsys, "report", learned, "--out", tmp_path / "r.html", "--json")["report"]
    assert Path(str(page)).read_text().lstrip().lower().startswith("<!doctype html")
    printed(capsys, "export", learned, "--to", "onnx", "--out", tmp_path / "me.onnx", "--json")
    session = onnxruntime.InferenceSession(str(tmp_path / "me.onnx"), providers=["CPUExecutionProvider"])
    weights = np.eye(3, dtype=np.float32)[[0, 2]]
    (images,) = session.run(None, {session.get_inputs()[0].name: weights})
    assert images.shape == (2, 3, 16, 16)
    checked = printed(capsys, "check", learned, "--json")
    assert (checked["ok"], checked["memories"]) == (True, 3)
    assert "transcoded" in printed(capsys, "compact", learned, "--json")


def test_check_exits_with_one_on_damage(learned: Path, tmp_path: Path, capsys: Captured) -> None:
    import shutil

    copy = tmp_path / "copy.everface"
    shutil.copytree(learned, copy)
    data = bytearray((copy / "memory.safetensors").read_bytes())
    data[len(data) // 2] ^= 0x55
    (copy / "memory.safetensors").write_bytes(bytes(data))
    assert run(["check", str(copy), "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert not result["ok"]
    assert result["problems"]


def test_budget_can_change(learned: Path, tmp_path: Path, capsys: Captured) -> None:
    import shutil

    copy = tmp_path / "copy.everface"
    shutil.copytree(learned, copy)
    assert printed(capsys, "budget", copy, "1MiB", "--json") == {"budget_bytes": 2**20, "evicted": []}
    assert printed(capsys, "status", copy, "--json")["budget_bytes"] == 2**20
    assert "16KiB" in complaint(capsys, 2, "budget", copy, "1KiB")


def test_forget(learned: Path, tmp_path: Path, capsys: Captured) -> None:
    import shutil

    copy = tmp_path / "copy.everface"
    shutil.copytree(learned, copy)
    gone = printed(capsys, "status", copy, "--json")["memories"][0]["id"]
    done = printed(capsys, "forget", copy, gone, "--json")
    assert done["id"] == gone
    assert done["still_derived"]
    status = printed(capsys, "status", copy, "--json")
    assert gone not in [item["id"] for item in status["memories"]]
    assert status["still_derived"] == [gone]


def test_encrypted_from_a_file(
    tmp_path: Path, tiny_base: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, wrong, path = tmp_path / "secret", tmp_path / "wrong", tmp_path / "me.everface"
    secret.write_text("open sesame\n")
    wrong.write_text("open barley\n")
    printed(capsys, "init", path, "--base", tiny_base, "--encrypt", "--passphrase-file", secret, "--json")
    assert printed(capsys, "status", path, "--passphrase-file", secret, "--json")["encrypted"]
    assert "passphrase" in complaint(capsys, 1, "status", path, "--passphrase-file", wrong)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert "--passphrase-file" in complaint(capsys, 1, "status", path)
    assert "a file that can be read" in complaint(capsys, 2, "status", path, "--passphrase-file", tmp_path / "none")


@pytest.mark.parametrize(
    ("code", "arguments", "words"),
    [
        (2, ["nope"], ["Unknown command", "--help"]),
        (2, ["init"], ["requires an argument", "--help"]),
        (2, ["init", "NEW", "--budget", "lots"], ["budget", "a size in bytes", "'lots'", "128KiB"]),
        (2, ["init", "NEW", "--budget", "1TiB"], ["budget", "16KiB to 1GiB"]),
        (2, ["init", "NEW", "--lora-rank", "99"], ["tune.lora_rank", "0 to 64", "99"]),
        (2, ["init", "NEW", "--policy", "best"], ["policy", "er-hull", "'best'"]),
        (1, ["init", "NEW", "--base", "nothing"], ["base", "base64", "nothing"]),
        (2, ["init", "NEW", "--dimension", "4d"], ["dimension", "2d or 3d", "'4d'"]),
        (2, ["init", "NEW", "--passphrase-file", "x"], ["--encrypt"]),
        (2, ["init", "NEW", "--seed", "-1"], ["seed"]),
        (1, ["init", "LEARNED"], ["exists", "choose another"]),
        (1, ["status", "NEW"], ["expected a workspace", "found none", "everface init"]),
        (1, ["check", "NEW"], ["workspace"]),
        (2, ["update", "LEARNED"], ["PHOTO", "at least one"]),
        (2, ["update", "LEARNED", "NEW"], ["photos", "nothing"]),
        (2, ["update", "LEARNED", "PHOTOS", "--max-minutes", "0"], ["max_minutes", "positive"]),
        (1, ["update", "LEARNED", "PHOTOS"], ["at least one usable photo", "duplicate"]),
        (2, ["generate", "LEARNED", "-n", "0", "--out", "NEW"], ["-n", "at least 1"]),
        (2, ["generate", "LEARNED", "--out", "FILE"], ["--out", "a folder"]),
        (2, ["generate", "LEARNED", "--out", "NEW", "--seed", "-3"], ["seed"]),
        (2, ["generate", "LEARNED"], ["requires an argument"]),
        (2, ["forget", "LEARNED", "123"], ["memory 123", "everface status"]),
        (2, ["export", "LEARNED", "--to", "coreml", "--out", "NEW"], ["onnx", "'coreml'"]),
        (2, ["report", "LEARNED", "--out", "PHOTOS"], ["a file", "folder"]),
        (2, ["bench", "nothing"], ["NAME", "hull"]),
        (2, ["reconstruct", "LEARNED", "PHOTO", "--out", "NEW"], ["--out", ".png"]),
        (2, ["reconstruct", "LEARNED", "NEW", "--out", "NEW.png"], ["photo", "a file"]),
        (1, ["enhance", "LEARNED", "FILE", "--out", "NEW.png"], ["file"]),
        (2, ["enhance", "LEARNED", "PHOTO", "--mask", "NEW", "--out", "NEW.png"], ["--mask", "a picture"]),
        (1, ["edit", "LEARNED", "PHOTO", "--pose", "-10", "--out", "NEW.png"], ["face", "model's picture"]),
        (2, ["pretrain", "NEW", "--out", "NEW"], ["--out", ".safetensors"]),
        (2, ["pretrain", "PHOTOS", "--out", "NEW.safetensors"], ["at least 16 pictures"]),
        (2, ["bench", "replay", "--preset", "small"], ["--preset", "laptop"]),
        (2, ["bench", "store", "--preset", "laptop"], ["--preset", "--preset"]),
    ],
)
def test_error_contract(
    learned: Path, photos: Path, tmp_path: Path, capsys: Captured, code: int, arguments: list[str], words: list[str]
) -> None:
    (tmp_path / "file").write_text("x")
    places = {"NEW": tmp_path / "new", "LEARNED": learned, "PHOTOS": photos, "FILE": tmp_path / "file"}
    places |= {"PHOTO": sorted(photos.glob("IMG*"))[0]}
    places |= {f"NEW{suffix}": tmp_path / f"new{suffix}" for suffix in (".png", ".safetensors")}
    text = complaint(capsys, code, *(places.get(item, item) for item in arguments))
    for word in words:
        assert word in text, text
    assert not (tmp_path / "new").exists()


def test_one_photo_goes_through_the_model(
    learned: Path,
    photos: Path,
    quick_loss: ReconstructionLoss,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    for verb in (edit, portrait):
        monkeypatch.setattr(verb, "SEARCH", InvertConfig(3))
    monkeypatch.setattr(TorchBackend, "loss", quick_loss)
    photo = sorted(photos.glob("IMG*"))[1]
    for name, more in (("reconstruct", []), ("enhance", ["--factor", 2]), ("edit", ["--stay", 1])):
        done = printed(capsys, name, learned, photo, *more, "--out", tmp_path / f"{name}.png", "--json")
        assert done["out"] == str(tmp_path / f"{name}.png")
        assert -1 <= float(str(done["identity"])) <= 1
        assert done["effect"] == {} and float(str(done["loss"])) >= 0
        assert Image.open(tmp_path / f"{name}.png").size == (16, 16)
    whole = printed(capsys, "enhance", learned, photo, "--paste", "--out", tmp_path / "whole.png", "--json")
    assert Image.open(str(whole["out"])).size == Image.open(photo).size


def test_doctor_tells_what_works(capsys: Captured) -> None:
    result = printed(capsys, "doctor", "--json")
    assert result["base"] == {"name": "base128", "resolution": 128}
    assert all(isinstance(item["available"], bool) and item["why"] for item in result["backends"].values())
    assert result["backends"]["torch"]["available"]
    assert result["backends"]["onnxruntime"]["available"]


def test_import_needs_no_torch_and_is_quick() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import everface; seconds = time.perf_counter() - start; "
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules or seconds > 0.2)"
    )
    # The best of three: this machine may be busy with other things.
    assert any(subprocess.run([sys.executable, "-c", code], check=False).returncode == 0 for _ in range(3))


def test_help_needs_no_torch() -> None:
    code = "import sys; from everface.cli import run; run(['--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0
    assert b"update" in done.stdout


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (KeyboardInterrupt(), 130, "nothing that was committed is lost"),
        (MemoryError(), 1, "smaller batches"),
        (OSError(28, "No space left on device", "me.everface"), 1, "me.everface: No space left on device"),
    ],
)
def test_what_no_command_expects_is_one_line_too(
    error: BaseException, code: int, word: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("everface.commands.common.Access.open", fail)
    assert word in complaint(capsys, code, "status", tmp_path)


def test_a_reader_that_goes_away_is_no_error() -> None:
    code = "from everface.cli import run\nfrom everface.commands.common import Access\nimport sys\n"
    code += "def gone(*a, **k): raise BrokenPipeError\nAccess.open = gone\nsys.exit(run(['status', 'x']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
