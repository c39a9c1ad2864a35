"""The demo: its parts on a tiny generator, and the whole of it (slow)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everface.bench.demo import DEMO, DemoResult, run_demo
from everface.bench.keeping import Keeping
from everface.bench.protocol import ProtocolConfig
from everface.console import emit
from everface.engine.config import InvertConfig, TuneConfig
from everface.engine.errors import UsageError
from everface.engine.learn.torch_backend import TorchBackend
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.progress import Progress


def personal_images(path: Path, batch: int) -> np.ndarray:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (weights,) = session.get_inputs()
    rows = np.zeros((batch, weights.shape[1]), np.float32)
    rows[:, :2] = 0.5
    return np.asarray(session.run(None, {weights.name: rows})[0])


@pytest.fixture(scope="module")
def small(
    tiny_base: Path, quick_loss: ReconstructionLoss, tmp_path_factory: pytest.TempPathFactory
) -> tuple[DemoResult, list[Progress]]:
    config = ProtocolConfig(
        Keeping(2), InvertConfig(2, 0.1), TuneConfig(max_steps=2, settle_window=0), InvertConfig(1, 0.02), samples=3
    )
    heard: list[Progress] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TorchBackend, "loss", quick_loss)
        result = run_demo(tmp_path_factory.mktemp("demo") / "out", heard.append, config, str(tiny_base))
    return result, heard


def test_it_writes_what_it_names(small: tuple[DemoResult, list[Progress]]) -> None:
    result, _ = small
    page = result.report.read_text(encoding="utf-8")
    for word in ("garden", "office", "concert", "skiing", "lower", "er-hull", "synthetic"):
        assert word in page
    assert personal_images(result.onnx, 3).shape == (3, 3, 16, 16)
    assert Image.open(result.samples).size == (3 * 4 * 16, 3 * 16)
    assert result.max_abs_error <= 1e-4


def test_all_photos_go_through_the_photo_room(small: tuple[DemoResult, list[Progress]]) -> None:
    result, heard = small
    # At 16 pixels two photos may look the same.
    assert result.accepted + result.rejected == 48
    assert result.accepted >= 44
    assert {one.stage for one in heard} == {"photos", "invert", "tune"}
    for stage in ("photos", "invert", "tune"):
        last = [one for one in heard if one.stage == stage][-1]
        assert last.done == last.total


def test_its_json_keeps_the_contract(
    small: tuple[DemoResult, list[Progress]], capsys: pytest.CaptureFixture[str]
) -> None:
    emit(small[0], True, "")
    told = json.loads(capsys.readouterr().out)
    assert Path(told["report"]).is_file()
    assert Path(told["onnx"]).is_file()
    assert told["seconds"] > 0
    assert set(told["forgetting"]) == {"lower", "er-hull"}
    assert set(told["identity"]) == {"base", "personal"}
    assert all(isinstance(one, float) for part in ("forgetting", "identity") for one in told[part].values())


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UsageError, match="a folder"):
        run_demo(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.slow
def test_the_whole_demo_forgets_less_and_looks_more_like_the_person(tmp_path: Path) -> None:
    result = run_demo(tmp_path / "out")
    assert result.rejected == 0
    assert result.buffer == DEMO.keeping.count == 3
    assert result.forgetting["er-hull"] < 0.8 * result.forgetting["lower"]
    assert result.identity["personal"] > result.identity["base"] + 0.01
    assert personal_images(result.onnx, 5).shape == (5, 3, 64, 64)
