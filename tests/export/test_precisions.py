"""Low precision, smaller pictures, noise inputs: what each computes and how large it is."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from tests.export.conftest import export_2d, make_generator

from everface.engine.errors import ExportError, UsageError
from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.ops.resample import upsample_2x
from everface.export.graph import ARITHMETICS
from everface.export.model2d import Model2D
from everface.export.onnx import build_graph
from everface.export.quantize import quantize_int8
from everface.export.recipe import ExportRecipe, Tolerance

Anchors = list[NDArray[np.float32]]
LOOSE = Tolerance(relative_error=0.3)


def kinds(path: Path) -> dict[int, int]:
    """Bytes of constants by element type."""
    found: dict[int, int] = {}
    for one in onnx.load(path).graph.initializer:
        found[one.data_type] = found.get(one.data_type, 0) + len(one.raw_data)
    return found


@pytest.mark.parametrize(("precision", "limit"), [("fp16", 2e-3), ("bf16", 2e-2), ("int8", 0.15)])
def test_errors_stay_small(
    precision: str, limit: float, tmp_path: Path, generator: Generator, anchors: Anchors
) -> None:
    recipe = ExportRecipe(precision=precision, tolerance=LOOSE, samples=3)
    report = export_2d(generator, anchors, tmp_path / "out", recipe)
    for file in report.files:
        assert 0 < file.parity.relative_error < limit, file.graph


@pytest.mark.parametrize(
    ("precision", "kind"),
    [("fp16", TensorProto.FLOAT16), ("bf16", TensorProto.BFLOAT16), ("int8", TensorProto.INT8)],
)
def test_most_weights_are_stored_narrow(precision: str, kind: int, tmp_path: Path, anchors: Anchors) -> None:
    wide = make_generator(channel_base=1024, channel_max=64)
    report = export_2d(wide, anchors, tmp_path / "a.onnx", ExportRecipe(precision=precision, tolerance=LOOSE))
    whole = export_2d(wide, anchors, tmp_path / "b.onnx", ExportRecipe())
    stored = kinds(tmp_path / "a.onnx")
    # The highest of three blocks stays float32 with int8, which counts for much in a generator as small as this.
    assert stored[kind] > (0.25 if precision == "int8" else 0.5) * sum(stored.values())
    assert report.files[0].bytes < whole.files[0].bytes * (0.7 if precision == "int8" else 0.6)


def test_half_precision_survives_weights_that_overflow_it(tmp_path: Path, anchors: Anchors) -> None:
    loud = make_generator(conv_clamp=256.0)
    with torch.no_grad():
        for name, value in loud.synthesis.named_parameters():
            if name.endswith("conv1.weight") or name.endswith("conv1.affine.bias"):
                value.mul_(300)
    recipe = ExportRecipe(precision="fp16", tolerance=LOOSE, samples=2)
    report = export_2d(loud, anchors, tmp_path / "me.onnx", recipe)
    assert report.files[0].parity.relative_error < 3e-3


def test_the_phases_of_a_transposed_convolution(generator: Generator, anchors: Anchors) -> None:
    model2d = Model2D(generator.weights(), anchors)
    weights = np.eye(7, dtype=np.float32)[:2]
    images = []
    for phased in (False, True):
        arithmetic = ARITHMETICS["fp32"].__class__(phased=phased)
        model = build_graph("personal", model2d.weights, model2d.anchors, ExportRecipe(), {}, arithmetic)
        assert phased == any(node.op_type == "DepthToSpace" for node in model.graph.node)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        images.append(session.run(None, {"weights": weights})[0])
    np.testing.assert_allclose(images[0], images[1], atol=2e-5)


def test_calibration_leaves_the_given_model_alone(generator: Generator, anchors: Anchors) -> None:
    model = Model2D(generator.weights(), anchors).build("personal", ExportRecipe(precision="int8"), {"terms": "mine"})
    before = model.SerializeToString(deterministic=True)
    done = quantize_int8(model, {"weights": np.eye(7, dtype=np.float32)}, symmetric=True)
    assert model.SerializeToString(deterministic=True) == before
    assert {one.key: one.value for one in done.metadata_props} == {"terms": "mine"}
    assert done.ir_version == model.ir_version and done.opset_import == model.opset_import
    kinds = {one.name: one.data_type for one in done.graph.initializer}
    quantised = [node for node in done.graph.node if node.op_type == "QuantizeLinear"]
    assert quantised
    for node in quantised:
        assert kinds[node.input[2]] == TensorProto.INT8
    assert {len(one.raw_data) > 0 or not one.dims for one in done.graph.initializer} == {True}


def test_a_failing_precision_leaves_nothing(tmp_path: Path, generator: Generator, anchors: Anchors) -> None:
    recipe = ExportRecipe(precision="int8", tolerance=Tolerance(perceptual=1e-9))
    with pytest.raises(ExportError, match=r"graph personal in onnxruntime .*perceptual .* > 1e-09; the file was not"):
        export_2d(generator, anchors, tmp_path / "me.onnx", recipe)
    assert not list(tmp_path.iterdir())


def test_smaller_pictures_are_those_of_the_lower_blocks(tmp_path: Path, generator: Generator, anchors: Anchors) -> None:
    report = export_2d(generator, anchors, tmp_path / "out", ExportRecipe(resolution=8, samples=2))
    assert report.max_error < 5e-5
    session = onnxruntime.InferenceSession(str(tmp_path / "out/personal.onnx"), providers=["CPUExecutionProvider"])
    image = session.run(None, {"weights": np.eye(7, dtype=np.float32)[:1]})[0]
    w = torch.from_numpy(anchors[0][:1])
    low, high, _ = generator.synthesis.blocks()
    x = low.conv1(low.const[None], w)
    first = low.torgb(x, w)
    second = high.torgb(high.conv1(high.conv0(x, w), w), w)
    np.testing.assert_allclose(image, (upsample_2x(first) + second).numpy(), atol=5e-5)
    told = json.loads((tmp_path / "out/manifest.json").read_text())
    assert told["metadata"]["cut_from"] == "16" and told["metadata"]["resolution"] == "8"


def test_resolutions_that_the_model_lacks(generator: Generator) -> None:
    assert Model2D(generator.weights(), [], 16).notes == {}
    with pytest.raises(UsageError, match="resolution: expected at most the model's 16, found 32; choose 16"):
        Model2D(generator.weights(), [], 32)


def test_noise_inputs_default_to_the_models_own(tmp_path: Path, generator: Generator, anchors: Anchors) -> None:
    recipe = ExportRecipe(graphs=("synthesis",), noise_inputs=True, samples=2)
    export_2d(generator, anchors, tmp_path / "s.onnx", recipe)
    session = onnxruntime.InferenceSession(str(tmp_path / "s.onnx"), providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["ws"]
    names = {one.name for one in session.get_overridable_initializers()}
    assert {"noise.b4.conv1", "noise.b16.conv0"} <= names
    ws = torch.randn(2, 6, 24, generator=torch.Generator().manual_seed(3))
    noise = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(4))
    found = session.run(None, {"ws": ws.numpy(), "noise.b8.conv1": noise.numpy()})[0]
    noisy = copy.deepcopy(generator)
    dict(noisy.synthesis.named_buffers())["b8.conv1.noise_const"].copy_(noise[0, 0])
    wanted = noisy.synthesis(ws).numpy()
    np.testing.assert_allclose(found, wanted, atol=5e-5)
    assert np.abs(wanted - generator.synthesis(ws).numpy()).max() > 1e-2


def test_size_limit(tmp_path: Path, generator: Generator, anchors: Anchors) -> None:
    with pytest.raises(ExportError, match=r"graph personal: expected at most 0\.001 MB, found .* MB; choose --prec"):
        export_2d(generator, anchors, tmp_path / "me.onnx", ExportRecipe(size_limit=0.001))
    assert not list(tmp_path.iterdir())
    export_2d(generator, anchors, tmp_path / "me.onnx", ExportRecipe(size_limit=1.0))


@pytest.mark.real_judge
def test_perception_is_measured(tmp_path: Path, generator: Generator, anchors: Anchors) -> None:
    report = export_2d(generator, anchors, tmp_path / "me.onnx", ExportRecipe(precision="fp16", samples=1))
    parity = report.files[0].parity
    assert parity.perceptual is not None and 0 < parity.perceptual < 1e-4
    assert parity.identity_drift is not None and 0 < parity.identity_drift < 0.02
    assert "MobileNetV2 distance" in report.summary()
