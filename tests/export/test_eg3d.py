"""The graphs of an EG3D: run in ONNX Runtime beside PyTorch, and built by TensorRT-RTX."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from everface.cli import main
from everface.engine.errors import ExportError, UsageError
from everface.engine.generators.eg3d import EG3DConfig, RenderConfig, TriPlaneGenerator
from everface.engine.generators.stylegan2 import StyleGAN2Config
from everface.engine.photos.camera import orbit
from everface.export.eg3d import export_eg3d
from everface.export.recipe import GRAPHS_3D, ExportRecipe, Tolerance
from everface.export.report import ExportReport

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx_bindings") is None,
    reason="TensorRT-RTX is not installed: pip install 'everface[tensorrt-rtx]'",
)


TERMS = {"terms": "ours"}


def blind(got: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    return 0.0, 0.0


def tiny(superresolution: str = "2X") -> TriPlaneGenerator:
    config = EG3DConfig(
        backbone=StyleGAN2Config(32, 16, 16, 25, 2, 256, 8, 12),
        resolution=32 if superresolution == "2X" else 16,
        neural_resolution=16,
        superresolution=superresolution,
        sr_channels=8,
        decoder_hidden=8,
        render=RenderConfig(samples=6, importance_samples=6),
    )
    torch.manual_seed(0)
    return TriPlaneGenerator(config).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def generator() -> TriPlaneGenerator:
    return tiny()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, generator: TriPlaneGenerator) -> ExportReport:
    recipe = ExportRecipe(samples=4)
    return export_eg3d(generator, tmp_path_factory.mktemp("eg3d") / "out", recipe, metadata=TERMS, judge=blind)


def test_both_graphs_go_to_a_folder_and_agree(report: ExportReport, generator: TriPlaneGenerator) -> None:
    assert [one.path.name for one in report.files] == ["planes.onnx", "render.onnx"]
    assert all(one.parity.passed and one.parity.batch_sizes == (1, 3, 8) for one in report.files)
    assert report.max_error < 1e-4
    folder = report.files[0].path.parent
    told = json.loads((folder / "manifest.json").read_text())
    assert told["metadata"]["terms"] == "ours"
    assert [one["parity"] for one in told["files"]] == ["passed", "passed"]

    draw = onnxruntime.InferenceSession(folder / "planes.onnx", providers=["CPUExecutionProvider"])
    view = onnxruntime.InferenceSession(folder / "render.onnx", providers=["CPUExecutionProvider"])
    ws = np.random.default_rng(0).standard_normal((1, 8, 16)).astype(np.float32)
    [planes] = draw.run(None, {"ws": ws})
    assert planes.shape == (1, 3, 4, 32, 32)
    c = torch.as_tensor(orbit(15.0, 5.0)).float().reshape(1, 25)
    [image] = view.run(None, {"planes": planes, "ws": ws, "c": c.numpy()})
    wanted = generator.synthesis(torch.from_numpy(ws), c).image
    np.testing.assert_allclose(image, wanted.numpy(), atol=1e-4)


def test_the_sampling_is_four_dimensional_and_its_axes_are_constants(report: ExportReport) -> None:
    model = onnx.load(report.files[1].path)
    assert {one.domain for one in model.opset_import} == {""}
    shapes = onnx.shape_inference.infer_shapes(model)
    ranks = {one.name: len(one.type.tensor_type.shape.dim) for one in shapes.graph.value_info}
    samplers = [one for one in model.graph.node if one.op_type == "GridSample"]
    assert len(samplers) == 6  # three planes, two passes
    assert {ranks.get(name, 4) for one in samplers for name in (*one.input, *one.output)} == {4}
    assert {prop.key: prop.value for prop in model.metadata_props}["architecture"] == "eg3d"


def test_a_file_without_a_superresolution_is_exported_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "base.safetensors"
    file.write_bytes(tiny("none").to_bytes(TERMS, np.float32))
    command = ["export", str(file), "--graphs", "render", "--out", str(tmp_path / "view.onnx"), "--json"]
    with pytest.raises(SystemExit, match="0"):
        main(command)
    told = json.loads(capsys.readouterr().out)
    assert told["files"][0]["graph"] == "render"
    assert told["max_error"] < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "view.onnx", providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["planes", "c"]  # nobody wants codes
    with pytest.raises(SystemExit, match="1"):
        main(["export", str(tmp_path / "no.safetensors"), "--out", str(tmp_path / "x.onnx")])


def test_a_recipe_that_does_not_fit_is_refused(tmp_path: Path, generator: TriPlaneGenerator) -> None:
    for recipe in (
        ExportRecipe("bundle"), ExportRecipe(precision="fp16"), ExportRecipe(graphs=("mapping",)),
        ExportRecipe(resolution=16),
    ):  # fmt: skip
        with pytest.raises(UsageError):
            export_eg3d(generator, tmp_path / "out", recipe, judge=blind)
    with pytest.raises(UsageError, match="one for the file"):
        export_eg3d(generator, tmp_path / "me.onnx", ExportRecipe(), judge=blind)
    recipe = ExportRecipe(graphs=("planes",), samples=1, tolerance=Tolerance(max_error=1e-12))
    with pytest.raises(ExportError, match="within the tolerance"):
        export_eg3d(generator, tmp_path / "out", recipe, judge=blind)
    assert not list(tmp_path.iterdir())


@needs_rtx
@pytest.mark.slow
def test_tensorrt_rtx_builds_both(tmp_path: Path, generator: TriPlaneGenerator) -> None:
    recipe = ExportRecipe("tensorrt-rtx", samples=1)
    report = export_eg3d(generator, tmp_path / "out", recipe, judge=blind)
    assert [one.graph for one in report.files] == list(GRAPHS_3D)
    assert all(one.bytes > 10_000 and not one.parity.failures() for one in report.files)
