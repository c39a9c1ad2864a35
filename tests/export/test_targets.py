"""ONNX Runtime's own format, TensorRT and TensorRT-RTX."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from tests.export.conftest import export_2d

from everface.engine.errors import ExportError, MissingBackendError
from everface.engine.generators.stylegan2.generator import Generator
from everface.export.recipe import GRAPHS, PRECISIONS, ExportRecipe, Tolerance
from everface.export.tensorrt import TensorRTTarget

Anchors = list[NDArray[np.float32]]
LOOSE = Tolerance(relative_error=0.3)
needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx_bindings") is None,
    reason="TensorRT-RTX is not installed: pip install 'everface[tensorrt-rtx]'",
)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_ort_format_lists_its_operators(precision: str, tmp_path: Path, generator: Generator, anchors: Anchors) -> None:
    recipe = ExportRecipe("ort", precision, tolerance=LOOSE, samples=2)
    report = export_2d(generator, anchors, tmp_path / "out", recipe)
    assert [one.path.name for one in report.files] == ["personal.ort", "synthesis.ort", "mapping.ort"]
    data = (tmp_path / "out/personal.ort").read_bytes()
    assert data[4:8] == b"ORTM"
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert session.run(None, {"weights": np.eye(7, dtype=np.float32)[:2]})[0].shape == (2, 3, 16, 16)
    lines = (tmp_path / "out/required_operators.config").read_text().splitlines()
    told = [line.split(";") for line in lines if not line.startswith("#")]
    operators = {name for domain, _, names in told if domain == "ai.onnx" for name in names.split(",")}
    assert {"Conv", "ConvTranspose", "Gemm", "Mul", "Sqrt"} <= operators or precision == "int8"
    assert ("QLinearConv" in operators) == (precision == "int8")
    assert all(opset.isdigit() for _, opset, _ in told)


def test_one_ort_file_has_its_companions_beside_it(tmp_path: Path, generator: Generator, anchors: Anchors) -> None:
    report = export_2d(generator, anchors, tmp_path / "me.ort", ExportRecipe("ort", samples=1))
    names = ["me.ort", "me.ort.manifest.json", "me.ort.required_operators.config"]
    assert sorted(one.name for one in tmp_path.iterdir()) == names
    assert set(report.extras) == {tmp_path / name for name in names[1:]}
    told = json.loads((tmp_path / "me.ort.manifest.json").read_text())
    assert told["files"][0]["parity"] == "passed"
    assert told["files"][0]["sha256"] == report.files[0].sha256


@needs_rtx
@pytest.mark.parametrize("precision", PRECISIONS)
def test_tensorrt_rtx_builds_an_engine(precision: str, tmp_path: Path, generator: Generator, anchors: Anchors) -> None:
    graphs = GRAPHS if precision == "fp32" else GRAPHS[:1]
    recipe = ExportRecipe("tensorrt-rtx", precision, graphs=graphs, tolerance=LOOSE, samples=1)
    report = export_2d(generator, anchors, tmp_path / "out", recipe)
    assert [one.path.name for one in report.files] == [f"{graph}.engine" for graph in graphs]
    assert all(one.bytes > 10_000 for one in report.files)
    told = json.loads((tmp_path / "out/manifest.json").read_text())
    for file in told["files"]:
        if file["not_run"]:
            assert file["parity"] == "not run"
            assert "onnxruntime" in file["runtime"]
        assert file["relative_error"] < 0.3


@needs_rtx
def test_what_tensorrt_refuses_is_told(generator: Generator, anchors: Anchors) -> None:
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("NoSuchOperator", ["x"], ["y"])], "odd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )  # fmt: skip
    with pytest.raises(ExportError, match=r"graph odd: expected an engine from tensorrt-rtx, found .*Plugin not found"):
        TensorRTTarget("tensorrt-rtx").encode(helper.make_model(graph))


def test_required_parity(
    tmp_path: Path, generator: Generator, anchors: Anchors, monkeypatch: pytest.MonkeyPatch
) -> None:
    from everface.export.targets import CannotRunError, OnnxTarget

    class Elsewhere(OnnxTarget):
        def open(self, data: bytes, graph: str) -> object:  # type: ignore[override]
            raise CannotRunError("no NVIDIA GPU with a working driver")

    monkeypatch.setattr("everface.export.stages.target_of", lambda _: Elsewhere())
    with pytest.raises(MissingBackendError, match=r"parity of graph personal: .*no NVIDIA GPU.*without --require"):
        export_2d(generator, anchors, tmp_path / "me.engine", ExportRecipe("tensorrt-rtx", require_parity=True))
    assert not list(tmp_path.iterdir())
    report = export_2d(generator, anchors, tmp_path / "me.engine", ExportRecipe("tensorrt-rtx"))
    parity = report.files[0].parity
    assert not parity.passed and not parity.failures()
    assert "parity: not run (no NVIDIA GPU" in report.summary()
    told = json.loads((tmp_path / "me.engine.manifest.json").read_text())
    assert told["files"][0]["parity"] == "not run"


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt-rtx"])
def test_a_package_that_is_not_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("tensorrt", "tensorrt_rtx_libs", "tensorrt_rtx_bindings"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingBackendError, match=rf"^{name}: expected the package .*pip install 'everface\["):
        TensorRTTarget(name)
