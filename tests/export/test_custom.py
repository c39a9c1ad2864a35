"""The operator library: equal to the portable graph and to PyTorch; hostile graphs are errors, never crashes."""

from __future__ import annotations

import concurrent.futures
import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tests.export.conftest import export_2d, make_generator

from everface.engine.errors import MissingBackendError, UsageError
from everface.engine.generators.stylegan2.generator import Generator
from everface.export.custom import CUSTOM_PRECISIONS, library_path
from everface.export.model2d import Model2D
from everface.export.recipe import ExportRecipe, Tolerance
from everface.export.runtime import operators

Array = NDArray[np.float32]
# `make test-operators` names a build with AddressSanitizer.
LIBRARY = os.environ.get("EVERFACE_TEST_OPERATORS") or str(library_path())


def open_session(model: onnx.ModelProto, threads: int = 1) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    options.register_custom_ops_library(LIBRARY)
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def custom_graph(generator: Generator, precision: str) -> onnx.ModelProto:
    return Model2D(generator.weights(), []).build("synthesis", ExportRecipe(variant="custom", precision=precision), {})


def codes(generator: Generator, count: int, seed: int = 1) -> torch.Tensor:
    config = generator.config
    return torch.randn(count, config.num_ws, config.w_dim, generator=torch.Generator().manual_seed(seed))


def render(model: onnx.ModelProto, ws: torch.Tensor, threads: int = 1) -> Array:
    return open_session(model, threads).run(None, {"ws": ws.numpy()})[0]


def relative(found: Array, truth: Array) -> float:
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


SHAPES = (
    {},
    {"resolution": 64, "channel_base": 1024, "channel_max": 40},  # several chunks and bands
    {"resolution": 8, "channel_max": 3, "channel_base": 24},  # fewer channels than any vector has lanes
    {"resolution": 32, "img_channels": 1, "conv_clamp": 0.5},
)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("threads", [1, 3])
def test_float32_renders_what_pytorch_renders(shape: dict[str, object], threads: int) -> None:
    generator = make_generator(**shape)
    ws = codes(generator, 3)
    model = custom_graph(generator, "fp32")
    truth = generator.double().synthesis(ws.double()).numpy()
    assert relative(render(model, ws, threads), truth) < 2e-6


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bfloat16_errs_at_most_as_much_as_pytorch(shape: dict[str, object]) -> None:
    generator = make_generator(**shape)
    ws = codes(generator, 4)
    model = custom_graph(generator, "bf16")
    theirs = generator.synthesis(ws, dtype=torch.bfloat16).numpy()
    truth = generator.double().synthesis(ws.double()).numpy()
    error = relative(render(model, ws), truth)
    assert 1e-4 < error < 1.2 * relative(theirs, truth)


@pytest.mark.parametrize("size", [0, 1, 2, 7])
@pytest.mark.parametrize("precision", CUSTOM_PRECISIONS)
def test_any_batch(generator: Generator, size: int, precision: str) -> None:
    session = open_session(custom_graph(generator, precision))
    ws = codes(generator, size).numpy()
    images = session.run(None, {"ws": ws})[0]
    assert images.shape == (size, 3, 16, 16)
    for one, image in zip(ws, images, strict=True):
        alone = session.run(None, {"ws": one[None]})[0][0]
        # A batch is cut into other chunks, whose sums round otherwise.
        np.testing.assert_allclose(image, alone, atol=1e-5 if precision == "fp32" else 0.05)


def test_personal_graph_has_the_anchors(generator: Generator, anchors: list[Array]) -> None:
    joined = np.concatenate(anchors)
    recipe = ExportRecipe(variant="custom", psi=0.7)
    model = Model2D(generator.weights(), anchors).build("personal", recipe, {})
    weights = np.random.default_rng(0).dirichlet(np.ones(len(joined)), 3).astype(np.float32)
    image = open_session(model).run(None, {"weights": weights})[0]
    mean = generator.mapping.w_avg
    w = mean + 0.7 * (torch.from_numpy(weights @ joined) - mean)
    np.testing.assert_allclose(image, generator.synthesis(w).numpy(), atol=1e-4)


def test_sessions_and_threads_share_the_library(generator: Generator) -> None:
    model = custom_graph(generator, "fp32")
    sessions = [open_session(model, threads) for threads in (1, 2)]
    inputs = [codes(generator, 2, seed).numpy() for seed in range(8)]
    alone = [sessions[0].run(None, {"ws": ws})[0] for ws in inputs]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda i: sessions[i % 2].run(None, {"ws": inputs[i % 8]})[0], range(40)))
    for i, image in enumerate(together):
        np.testing.assert_allclose(image, alone[i % 8], atol=1e-5)


@pytest.mark.parametrize("precision", CUSTOM_PRECISIONS)
def test_an_export_of_the_variant_is_proven_and_loads(
    generator: Generator, anchors: list[Array], tmp_path: Path, precision: str
) -> None:
    recipe = ExportRecipe(precision=precision, variant="custom", samples=2, tolerance=Tolerance(relative_error=0.05))
    report = export_2d(generator, anchors, tmp_path / "me", recipe)
    assert {one.graph for one in report.files} == {"personal", "synthesis", "mapping"}
    for one in report.files:
        domains = {opset.domain for opset in onnx.load(one.path).opset_import}
        assert ("everface" in domains) == (one.graph != "mapping")
    for wrong in ({"precision": "int8"}, {"target": "ort"}, {"noise_inputs": True}):
        with pytest.raises(UsageError, match="custom"):
            ExportRecipe(variant="custom", **wrong)


def test_usage_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="img_channels"):
        custom_graph(make_generator(img_channels=5), "fp32")
    monkeypatch.setattr(operators, "packaged_library", lambda: None)
    with pytest.raises(MissingBackendError, match="EVERFACE_ORT"):
        library_path()


ATTRIBUTES = {"height": 4, "width": 4, "up": 1, "demodulate": 1, "slope": 0.2, "gain": 1.4, "clamp": 3e38}


def layer(
    inputs: dict[str, Array | None] | None = None, attributes: dict[str, object] | None = None, *,
    op: str = "ModulatedConv", dynamic: tuple[str, ...] = ("x",), drop: tuple[str, ...] = (),
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:  # fmt: skip
    """A model of one operator; inputs in ``dynamic`` are fed, all others are constants."""
    convolution = op == "ModulatedConv"
    rng = np.random.default_rng(0)
    given: dict[str, Array | None] = {
        "x": rng.standard_normal((1, 4, 4, 6), dtype=np.float32),
        "styles": rng.standard_normal((1, 6), dtype=np.float32),
        "weight": rng.standard_normal((5, 6, 3, 3) if convolution else (3, 6, 1, 1), dtype=np.float32),
        "bias": np.zeros(5 if convolution else 3, np.float32),
    }
    given |= inputs or {}
    told = ATTRIBUTES if convolution else {"clamp": 3e38}
    told = {name: value for name, value in (told | (attributes or {})).items() if name not in drop}
    names = [name if value is not None else "" for name, value in given.items()]
    node = helper.make_node(op, names, ["y"], domain="everface", **told)
    graph = helper.make_graph(
        [node], "layer",
        [helper.make_tensor_value_info(name, kind if name == "x" else TensorProto.FLOAT, None) for name in dynamic],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v, n) for n, v in given.items() if v is not None and n not in dynamic],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("everface", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def run_layer(model: onnx.ModelProto, **feeds: Array) -> Array:
    return open_session(model).run(None, feeds or {"x": np.ones((1, 4, 4, 6), np.float32)})[0]


def zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


def test_an_intact_layer_runs() -> None:
    assert run_layer(layer()).shape == (1, 4, 4, 5)
    assert run_layer(layer(attributes={"up": 2})).shape == (1, 8, 8, 5)
    assert run_layer(layer(op="ToRGB")).shape == (1, 3, 4, 4)
    assert run_layer(layer({"skip": zeros(1, 3, 2, 2)}, op="ToRGB")).shape == (1, 3, 4, 4)


@pytest.mark.parametrize(
    "attributes",
    [
        {"up": 3}, {"up": 0}, {"up": -1}, {"demodulate": 2}, {"clamp": 0.0}, {"clamp": -1.0}, {"clamp": float("nan")},
        {"slope": float("nan")}, {"gain": float("inf")}, {"height": 0}, {"height": -4}, {"width": 2**62},
        {"up": 1.5}, {"gain": "loud"}, {"height": 2**40},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_attributes_are_errors(attributes: dict[str, object]) -> None:
    with pytest.raises(Exception, match=next(iter(attributes))):
        run_layer(layer(attributes=attributes))


@pytest.mark.parametrize("name", list(ATTRIBUTES))
def test_missing_attributes_are_errors(name: str) -> None:
    with pytest.raises(Exception, match=name):
        run_layer(layer(drop=(name,)))


@pytest.mark.parametrize(
    "inputs",
    [
        {"weight": zeros(5, 6, 2, 2)}, {"weight": zeros(5, 6, 3, 1)}, {"weight": zeros(5, 6)},
        {"weight": zeros(0, 6, 3, 3)},
        {"weight": zeros(5, 0, 3, 3)}, {"weight": zeros(5, 7, 3, 3)}, {"styles": zeros(1, 5)}, {"styles": zeros(6)},
        {"styles": zeros(1, 6, 1)}, {"bias": zeros(4)}, {"bias": zeros(1, 5)}, {"bias": zeros(0)},
        {"noise": zeros(1, 4, 5)}, {"noise": zeros(2, 4, 4)}, {"noise": zeros(4, 4)}, {"noise": zeros(0, 4, 4)},
        {"styles": None}, {"bias": None}, {"weight": None},
    ],
    ids=lambda inputs: str({k: None if v is None else v.shape for k, v in inputs.items()}),
)  # fmt: skip
def test_wrong_inputs_are_errors(inputs: dict[str, Array | None]) -> None:
    with pytest.raises(Exception, match=r"ModulatedConv|everface|[Ii]nput"):
        run_layer(layer(inputs))


@pytest.mark.parametrize(
    "x", [zeros(1, 4, 4, 5), zeros(1, 4, 4), zeros(2, 4, 4, 6), zeros(1, 8, 8, 6), zeros(0, 4, 4, 6), zeros(6)],
    ids=lambda x: str(x.shape),
)  # fmt: skip
def test_wrong_images_are_errors(x: Array) -> None:
    session = open_session(layer())
    with pytest.raises(Exception, match="ModulatedConv x"):
        session.run(None, {"x": x})
    assert session.run(None, {"x": zeros(1, 4, 4, 6)})[0].shape == (1, 4, 4, 5)  # the session survives


def test_a_weight_that_is_fed_is_an_error() -> None:
    with pytest.raises(Exception, match="constant initializer"):
        open_session(layer(dynamic=("x", "weight")))


def test_a_pointwise_weight_cannot_upsample() -> None:
    with pytest.raises(Exception, match="weight"):
        open_session(layer({"weight": zeros(5, 6, 1, 1)}, {"up": 2}))


def test_wrong_types_are_errors() -> None:
    with pytest.raises(Exception, match=r"[Tt]ype"):
        open_session(layer(kind=TensorProto.DOUBLE))
    with pytest.raises(Exception, match=r"[Tt]ype"):
        open_session(layer({"weight": np.zeros((5, 6, 3, 3), np.float64)}))


@pytest.mark.parametrize(
    "inputs",
    [
        {"weight": zeros(5, 6, 1, 1)}, {"weight": zeros(0, 6, 1, 1)}, {"weight": zeros(3, 6)},
        {"weight": zeros(3, 6, 3, 3)},
        {"styles": zeros(2, 6)}, {"bias": zeros(4)}, {"skip": zeros(1, 3, 4, 4)}, {"skip": zeros(1, 1, 2, 2)},
        {"skip": zeros(1, 3, 2)}, {"bias": None},
    ],
    ids=lambda inputs: str({k: None if v is None else v.shape for k, v in inputs.items()}),
)  # fmt: skip
def test_wrong_inputs_of_torgb_are_errors(inputs: dict[str, Array | None]) -> None:
    with pytest.raises(Exception, match=r"ToRGB|[Ii]nput"):
        run_layer(layer(inputs, op="ToRGB"))


def test_odd_images_have_no_half() -> None:
    model = layer({"skip": zeros(1, 3, 1, 1)}, op="ToRGB")
    with pytest.raises(Exception, match="skip"):
        run_layer(model, x=zeros(1, 3, 3, 6))
    with pytest.raises(Exception, match="clamp"):
        open_session(layer(op="ToRGB", attributes={"clamp": -1.0}))
