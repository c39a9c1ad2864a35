"""The export's stages: what the graphs compute, that they are portable, and that nothing wrong is left behind."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from tests.export.conftest import export_2d, make_generator

import everface.export.onnx as graphs
from everface.engine.errors import ExportError, UsageError
from everface.engine.generators.bases import load_base
from everface.engine.generators.stylegan2.generator import Generator
from everface.export.graph import GraphBuilder
from everface.export.recipe import GRAPHS, NEWEST_OPSET, ExportRecipe

Anchors = list[NDArray[np.float32]]
STANDARD = {
    "Add", "Clip", "Conv", "ConvTranspose", "Div", "Gather", "Gemm", "Identity", "LeakyRelu", "MatMul", "Mul",
    "Reciprocal", "Sqrt", "Sub", "Unsqueeze",
}  # fmt: skip


def run(path: Path, **feeds: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feeds)[0])


def test_personal_graph_weighs_the_anchors(tmp_path: Path, generator: Generator, anchors: Anchors) -> None:
    path = tmp_path / "me.onnx"
    report = export_2d(generator, anchors, path, ExportRecipe(psi=0.6))
    weights = np.random.default_rng(5).dirichlet(np.ones(7), 5).astype(np.float32)
    w = torch.from_numpy(weights @ np.concatenate(anchors))
    mean = generator.mapping.w_avg
    wanted = generator.synthesis(mean + 0.6 * (w - mean)).numpy()
    np.testing.assert_allclose(run(path, weights=weights), wanted, atol=5e-5)
    assert report.anchors == 7
    assert [one.graph for one in report.files] == ["personal"]


def test_one_weight_shows_one_anchor_in_the_order_given(tmp_path: Path, generator: Generator, anchors: Anchors) -> None:
    export_2d(generator, anchors, tmp_path / "me.onnx")
    image = run(tmp_path / "me.onnx", weights=np.eye(7, dtype=np.float32)[3:4])
    wanted = generator.synthesis(torch.from_numpy(anchors[1][:1])).numpy()
    np.testing.assert_allclose(image, wanted, atol=5e-5)


def test_a_folder_gets_all_three_graphs(tmp_path: Path, generator: Generator, anchors: Anchors) -> None:
    report = export_2d(generator, anchors, tmp_path / "out")
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == [
        "manifest.json",
        "mapping.onnx",
        "personal.onnx",
        "synthesis.onnx",
    ]
    assert tuple(one.graph for one in report.files) == GRAPHS
    z = torch.randn(5, 32, generator=torch.Generator().manual_seed(1))
    w = run(tmp_path / "out/mapping.onnx", z=z.numpy(), psi=np.array([0.4], np.float32))
    np.testing.assert_allclose(w, generator.mapping(z, psi=0.4).numpy(), atol=1e-5)
    ws = torch.randn(2, 6, 24, generator=torch.Generator().manual_seed(2))
    image = run(tmp_path / "out/synthesis.onnx", ws=ws.numpy())
    np.testing.assert_allclose(image, generator.synthesis(ws).numpy(), atol=5e-5)


@pytest.mark.parametrize("shape", [{"conv_clamp": 0.5}, {"resolution": 8}, {"resolution": 32, "img_channels": 1}])
def test_other_shapes(tmp_path: Path, anchors: Anchors, shape: dict[str, object]) -> None:
    other = make_generator(3, **shape)
    report = export_2d(other, anchors, tmp_path / "out", ExportRecipe(samples=2))
    assert report.max_error <= 5e-5
    if "conv_clamp" in shape:
        assert other.synthesis(torch.from_numpy(anchors[0])).abs().max() <= 3 * 0.5 + 1e-6


def test_large_layers_add_noise_and_bias_apart(
    tmp_path: Path, generator: Generator, anchors: Anchors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everface.export.stylegan2._FLOATS_FOLDED", 0)
    assert export_2d(generator, anchors, tmp_path / "me.onnx").max_error <= 5e-5


@pytest.mark.parametrize("opset", [17, 18, 20, 22, 24, NEWEST_OPSET])
def test_graphs_are_portable(opset: int, tmp_path: Path, generator: Generator, anchors: Anchors) -> None:
    report = export_2d(generator, anchors, tmp_path / "out", ExportRecipe(opset=opset, samples=1))
    for file in report.files:
        model = onnx.load(file.path)
        assert [(one.domain, one.version) for one in model.opset_import] == [("", opset)]
        assert model.ir_version == report.ir_version
        assert {node.op_type for node in model.graph.node} <= STANDARD
        stored = {one.name: one for one in model.graph.initializer}
        kinds = {one.data_type for one in stored.values()}
        assert kinds <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
        assert {one.type.tensor_type.elem_type for one in inferred.value_info} <= kinds
        for node in model.graph.node:
            if node.op_type in ("Conv", "ConvTranspose"):
                assert node.input[1] in stored, "convolution weights are static"
        for end in (*model.graph.input[:1], *model.graph.output):
            assert end.type.tensor_type.shape.dim[0].dim_param == "n"


def test_metadata_says_whose_and_on_what_terms(tmp_path: Path, generator: Generator, anchors: Anchors) -> None:
    told = {"base_sha256": "ab" * 32, "terms": "research use"}
    export_2d(generator, anchors, tmp_path / "me.onnx", ExportRecipe(psi=0.9), metadata=told)
    model = onnx.load(tmp_path / "me.onnx")
    found = {one.key: one.value for one in model.metadata_props}
    assert found.items() >= told.items()
    assert found["graph"] == "personal"
    assert found["psi"] == "0.9"
    assert json.loads(found["anchor_groups"]) == [3, 4]
    assert "one real person" in found["notice"]
    assert "weights [n, anchors]" in model.doc_string


def test_same_model_same_bytes(tmp_path: Path, generator: Generator, anchors: Anchors) -> None:
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    first, second = (export_2d(generator, anchors, tmp_path / name) for name in ("a.onnx", "b.onnx"))
    assert first.files[0].sha256 == second.files[0].sha256
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


def test_report_tells_the_error(tmp_path: Path, generator: Generator, anchors: Anchors) -> None:
    report = export_2d(generator, anchors, tmp_path / "me.onnx")
    parity = report.files[0].parity
    assert 0 < parity.mean_error < parity.max_error <= 1e-4 == parity.tolerance.max_error
    assert parity.batch_sizes == (1, 3, 8)
    assert parity.compared == 7 + 1 + 8
    assert f"{parity.max_error:.1e}" in report.summary()
    told = json.loads(report.to_json())
    assert told["max_error"] == report.max_error
    assert told["files"][0]["path"] == str(tmp_path / "me.onnx")
    assert told["files"][0]["bytes"] == (tmp_path / "me.onnx").stat().st_size
    assert stat.S_IMODE((tmp_path / "me.onnx").stat().st_mode) == 0o600


def test_a_wrong_graph_is_not_kept(
    tmp_path: Path, generator: Generator, anchors: Anchors, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit = graphs.emit_synthesis

    def brighter(g: GraphBuilder, network: object, style: object, **more: bool) -> str:
        image = emit(g, network, style, **more)  # type: ignore[arg-type]
        return g.node("Add", [image, g.constant("slip", 2e-4)], "brighter")

    monkeypatch.setattr(graphs, "emit_synthesis", brighter)
    (tmp_path / "me.onnx").write_bytes(b"earlier")
    with pytest.raises(ExportError, match=r"graph personal .*max_error 0\.0002\d* > 0\.0001"):
        export_2d(generator, anchors, tmp_path / "me.onnx")
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("me.onnx", b"earlier")]
    with pytest.raises(ExportError):
        export_2d(generator, anchors, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_nan_in_the_runtime_fails(
    tmp_path: Path, generator: Generator, anchors: Anchors, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit = graphs.emit_synthesis

    def broken(g: GraphBuilder, network: object, style: object, **more: bool) -> str:
        image = emit(g, network, style, **more)  # type: ignore[arg-type]
        return g.node("Sqrt", [g.node("Sub", [image, g.constant("much", 1e6)], "negative")], "nan")

    monkeypatch.setattr(graphs, "emit_synthesis", broken)
    with pytest.raises(ExportError, match=r"max_error nan > 0\.0001"):
        export_2d(generator, anchors, tmp_path / "me.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["synthesis.b8.conv0.weight", "mapping.w_avg", "synthesis.b16.conv1.noise_const"])
def test_weights_that_are_not_finite(name: str, tmp_path: Path, anchors: Anchors) -> None:
    generator = make_generator()
    generator.state_dict()[name].view(-1)[0] = float("nan")
    with pytest.raises(ExportError, match=f"{name}: expected finite weights, found NaN or infinity; tune again"):
        export_2d(generator, anchors, tmp_path / "me.onnx")
    assert not list(tmp_path.iterdir())


def test_opset_of_a_newer_onnx(
    tmp_path: Path, generator: Generator, anchors: Anchors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnx.defs.onnx_opset_version", lambda: 22)
    with pytest.raises(ExportError, match="opset: expected at most 22, as onnx has it, found 24; pip install"):
        export_2d(generator, anchors, tmp_path / "out", ExportRecipe(opset=24))
    assert not list(tmp_path.iterdir())


def test_constants_that_overflow_float32() -> None:
    with pytest.raises(ExportError, match="folded: expected finite weights"):
        GraphBuilder("g", "").constant("folded", np.array([1e300]))


def test_anchors_that_do_not_fit(tmp_path: Path, generator: Generator) -> None:
    for bad, found in [(np.zeros((2, 23)), "shape"), (np.zeros(24), "shape"), (np.full((1, 24), np.nan), "NaN")]:
        with pytest.raises(UsageError, match=rf"anchors\[0\]: expected finite W codes \[a, 24\], found {found}"):
            export_2d(generator, [bad.astype(np.float32)], tmp_path / "me.onnx")
    with pytest.raises(UsageError, match="at least one W code for the personal graph, found none; run"):
        export_2d(generator, [], tmp_path / "me.onnx")
    report = export_2d(generator, [], tmp_path / "s.onnx", ExportRecipe(graphs=("synthesis",)))
    assert report.anchors == 0


def test_labels_are_refused(tmp_path: Path, anchors: Anchors) -> None:
    with pytest.raises(ExportError, match="expected one without labels"):
        export_2d(make_generator(c_dim=3), anchors, tmp_path / "me.onnx")


def test_the_embedded_base(tmp_path: Path) -> None:
    base = load_base("base64")
    codes = base.generator.mapping(torch.randn(3, 512, generator=torch.Generator().manual_seed(0))).numpy()
    report = export_2d(base.generator, [codes], tmp_path / "me.onnx", ExportRecipe(samples=1))
    assert report.max_error <= 1e-4
    assert report.files[0].bytes < 17e6
    assert run(tmp_path / "me.onnx", weights=np.eye(3, dtype=np.float32)[:2]).shape == (2, 3, 64, 64)
