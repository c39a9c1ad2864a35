"""The graphs of an EG3D: run in ONNX Runtime beside PyTorch, and built by TensorRT-RTX."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from everface.cli import main
from everface.engine.errors import ExportError, UsageError
from everface.engine.generators.eg3d.config import EG3DConfig, RenderConfig
from everface.engine.generators.eg3d.generator import TriPlaneGenerator
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.photos.camera import orbit
from everface.export.model3d import Model3D
from everface.export.recipe import ExportRecipe, Tolerance
from everface.export.report import ExportReport
from everface.export.runtime import Runtime
from everface.export.stages import export_model

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


def export_3d(
    generator: TriPlaneGenerator, path: Path, recipe: ExportRecipe | None = None, **more: Any
) -> ExportReport:
    return export_model(Model3D(generator, more.pop("anchors", ())), path, recipe, **more)


@pytest.fixture(scope="module")
def generator() -> TriPlaneGenerator:
    return tiny()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, generator: TriPlaneGenerator) -> ExportReport:
    recipe = ExportRecipe(graphs=("planes", "render"), samples=4)
    return export_3d(generator, tmp_path_factory.mktemp("eg3d") / "out", recipe, metadata=TERMS, judge=blind)


def test_both_graphs_go_to_a_folder_and_agree(report: ExportReport, generator: TriPlaneGenerator) -> None:
    assert [one.path.name for one in report.files] == ["planes.onnx", "render.onnx"]
    assert all(one.parity.passed and one.parity.batch_sizes == (1, 3, 8) for one in report.files)
    assert report.max_error < 2e-3
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
    np.testing.assert_allclose(image, wanted.numpy(), atol=1e-3)


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
    assert told["max_error"] < 2e-3
    session = onnxruntime.InferenceSession(tmp_path / "view.onnx", providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["planes", "c"]  # nobody wants codes
    with pytest.raises(SystemExit, match="1"):
        main(["export", str(tmp_path / "no.safetensors"), "--out", str(tmp_path / "x.onnx")])


def test_a_recipe_that_does_not_fit_is_refused(tmp_path: Path, generator: TriPlaneGenerator) -> None:
    for recipe in (
        ExportRecipe("delta"), ExportRecipe(precision="fp16"), ExportRecipe(graphs=("mapping",)),
        ExportRecipe(resolution=16), ExportRecipe("bundle", graphs=("planes",)), ExportRecipe(graphs=("personal",)),
    ):  # fmt: skip
        with pytest.raises(UsageError):
            export_3d(generator, tmp_path / "out", recipe, judge=blind)
    with pytest.raises(UsageError, match="one for the file"):
        export_3d(generator, tmp_path / "me.onnx", ExportRecipe(graphs=("planes", "render")), judge=blind)
    with pytest.raises(UsageError, match="choose --to onnx, ort, tensorrt, tensorrt-rtx or bundle, in fp32"):
        export_3d(generator, tmp_path / "me.delta", ExportRecipe("delta"), judge=blind)
    recipe = ExportRecipe(graphs=("planes",), samples=1, tolerance=Tolerance(max_error=1e-12))
    with pytest.raises(ExportError, match="within the tolerance"):
        export_3d(generator, tmp_path / "out", recipe, judge=blind)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("superresolution", ["2X", "none"])
def test_a_person_is_one_graph_and_one_bundle(tmp_path: Path, superresolution: str) -> None:
    generator = tiny(superresolution)
    anchors = [np.random.default_rng(1).standard_normal((n, 16)).astype(np.float32) for n in (2, 3)]
    recipe = ExportRecipe(samples=2, psi=0.8)
    report = export_3d(generator, tmp_path / "me.onnx", recipe, judge=blind, anchors=anchors)
    assert [(one.graph, one.parity.passed) for one in report.files] == [("personal", True)]
    assert report.anchors == 5
    session = onnxruntime.InferenceSession(tmp_path / "me.onnx", providers=["CPUExecutionProvider"])
    weights, c = np.eye(5, dtype=np.float32)[1:4], orbit([-20.0, 0.0, 20.0]).astype(np.float32)
    [images] = session.run(None, {"weights": weights, "c": c})
    mean = generator.w_mean
    w = mean + 0.8 * (torch.from_numpy(np.concatenate(anchors)[1:4]) - mean)
    wanted = generator.synthesis(w, torch.from_numpy(c)).image.numpy()
    np.testing.assert_allclose(images, wanted, atol=1e-3)

    export_3d(generator, tmp_path / "me.bundle", replace(recipe, target="bundle"), judge=blind, anchors=anchors)
    runtime = Runtime.open(tmp_path / "me.bundle")
    assert runtime.manifest.dimension == "3d"
    np.testing.assert_allclose(runtime.images(weights, c), wanted, atol=1e-3)
    assert runtime.generate(3, 1).shape == (3, generator.resolution, generator.resolution, 3)
    for call in (lambda: runtime.images(weights, c[:2]), lambda: runtime.images(weights, c[:, :24])):
        with pytest.raises(UsageError, match="cameras"):
            call()
    with pytest.raises(UsageError, match="synthesis"):
        runtime.render(np.concatenate(anchors))


@needs_rtx
@pytest.mark.slow
def test_tensorrt_rtx_builds_both(tmp_path: Path, generator: TriPlaneGenerator) -> None:
    recipe = ExportRecipe("tensorrt-rtx", samples=1)
    report = export_3d(generator, tmp_path / "out", recipe, judge=blind)
    assert [one.graph for one in report.files] == ["view", "planes", "render"]
    assert all(one.bytes > 10_000 and not one.parity.failures() for one in report.files)
