"""Bundles of the custom variant: the operator library, and graphs that ask other things of it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from tests.export.conftest import export_2d, quick_judge
from tests.export.runtime.refusal import refused

from everface.engine.errors import IntegrityError, MissingBackendError, UsageError
from everface.engine.generators.stylegan2.generator import Generator
from everface.export.custom import library_path
from everface.export.recipe import GRAPHS, ExportRecipe, Tolerance
from everface.export.runtime import Runtime, operators
from everface.export.runtime.container import Container, pack
from everface.export.runtime.guard import check_graph

Anchors = list[NDArray[np.float32]]
Change = Callable[[onnx.ModelProto], None]


def export(path: Path, generator: Generator, anchors: Anchors, **told: object) -> Path:
    recipe = ExportRecipe("bundle", variant="custom", samples=1, tolerance=Tolerance(relative_error=0.05), **told)
    export_2d(generator, anchors, path, recipe, judge=quick_judge)
    return path


@pytest.fixture(scope="module")
def custom(tmp_path_factory: pytest.TempPathFactory, generator: Generator, anchors: Anchors) -> Path:
    return export(tmp_path_factory.mktemp("custom") / "me.bundle", generator, anchors, graphs=GRAPHS)


def members_of(path: Path) -> dict[str, bytes]:
    container = Container(path)
    return {name: container.read(name, size) for name, size in container.sizes.items()}


def forged(tmp_path: Path, good: Path, change: Change | None = None, **told: object) -> Path:
    """The bundle with its personal graph changed, manifest entries replaced, and hashes that hold."""
    files = members_of(good)
    manifest = json.loads(files.pop("manifest.json"))
    if change is not None:
        model = onnx.load_from_string(files["personal.onnx"])
        change(model)
        files["personal.onnx"] = model.SerializeToString()
    manifest["files"] = {name: [len(data), hashlib.sha256(data).hexdigest()] for name, data in files.items()}
    path = tmp_path / "forged.bundle"
    path.write_bytes(pack({"manifest.json": json.dumps(manifest | told).encode(), **files}))
    return path


def test_the_portable_bundles_pictures(custom: Path, bundle: Path) -> None:
    ours, theirs = Runtime.open(custom, threads=1), Runtime.open(bundle, threads=1)
    assert (ours.manifest.operators, theirs.manifest.operators) == (1, None)
    assert np.abs(ours.generate(18, 3).astype(int) - theirs.generate(18, 3)).max() <= 1
    codes = np.random.default_rng(0).standard_normal((2, 24))
    np.testing.assert_allclose(ours.render(codes), theirs.render(codes), atol=2e-4)
    z = np.random.default_rng(1).standard_normal((2, 32))
    np.testing.assert_array_equal(ours.map(z), theirs.map(z))


def test_bfloat16(tmp_path: Path, generator: Generator, anchors: Anchors, bundle: Path) -> None:
    runtime = Runtime.open(export(tmp_path / "me.bundle", generator, anchors, precision="bf16"), threads=1)
    assert runtime.manifest.operators == 1 and runtime.manifest.metadata["precision"] == "bf16"
    assert "operator library" in runtime.text("MODEL_CARD.md")
    # The same rounding everywhere would be float32's; bfloat16's is a few levels.
    assert 1 <= np.abs(runtime.generate(8, 3).astype(int) - Runtime.open(bundle).generate(8, 3)).max() <= 24


def test_a_mapping_alone_needs_no_library(tmp_path: Path, generator: Generator, anchors: Anchors) -> None:
    with pytest.raises(UsageError):
        ExportRecipe("bundle", variant="custom", precision="int8")
    path = tmp_path / "me.bundle"
    recipe = ExportRecipe("bundle", variant="custom", graphs=("mapping", "synthesis"), samples=1)
    export_2d(generator, anchors, path, recipe, judge=quick_judge)
    assert json.loads(members_of(path)["manifest.json"])["operators"] == {"library": "everface", "version": 1}


def test_without_torch_and_with_a_library_elsewhere(custom: Path, tmp_path: Path) -> None:
    library = tmp_path / "operators.so"
    library.write_bytes(library_path().read_bytes())
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'PIL', 'scipy', 'everface._native'):\n"
        "    sys.modules[name] = None\n"
        "from everface.export.runtime import operators\n"
        "operators.packaged_library = lambda: None\n"
        "from everface.export.runtime.__main__ import main\n"
        f"told = [{str(custom)!r}, '-n', '2', '--out', {str(tmp_path / 'out')!r}]\n"
        "missing = main(told)\n"
        f"raise SystemExit(10 * missing + main([*told, '--operators', {str(library)!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 10, done.stderr
    assert "operator library: expected the file that such graphs need, found none" in done.stderr
    assert "operators=PATH" in done.stderr and "--variant portable" in done.stderr
    assert len(list((tmp_path / "out").glob("*.png"))) == 2


def test_libraries_that_are_none(custom: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingBackendError, match=r"found .*nowhere"):
        Runtime.open(custom, operators=tmp_path / "nowhere")
    (tmp_path / "text.so").write_text("not a library")
    with pytest.raises(MissingBackendError, match=r"one that ONNX Runtime .* loads"):
        Runtime.open(custom, operators=tmp_path / "text.so").generate(1)
    # A bundle that needs none loads none.
    assert Runtime.open(bundle, operators=tmp_path / "text.so").generate(1).shape == (1, 16, 16, 3)
    monkeypatch.setattr(operators, "packaged_library", lambda: None)
    with pytest.raises(MissingBackendError, match="pass operators=PATH"):
        Runtime.open(custom)


def test_operators_that_the_manifest_does_not_name(custom: Path, tmp_path: Path) -> None:
    refused(forged(tmp_path, custom, operators=None), r"standard operators alone, found the domain 'everface'")


@pytest.mark.parametrize(
    "told",
    [
        {}, 1, "everface", [], {"library": "everface"}, {"library": "evil", "version": 1},
        {"library": "/tmp/evil.so", "version": 1}, {"library": "everface", "version": 1, "path": "evil.so"},
        {"library": "everface", "version": 2}, {"library": "everface", "version": True},
        {"library": "everface", "version": 0}, {"library": ["everface"], "version": 1},
    ],
    ids=str,
)  # fmt: skip
def test_manifests_that_ask_for_another_library(told: object, custom: Path, tmp_path: Path) -> None:
    refused(forged(tmp_path, custom, operators=told), "bundle operators")


def node_of(model: onnx.ModelProto, op: str = "ModulatedConv", last: bool = False) -> onnx.NodeProto:
    found = [node for node in model.graph.node if node.op_type == op]
    return found[-1 if last else 0]


def attribute(name: str, value: object, op: str = "ModulatedConv") -> Change:
    """Replaces, adds, or with None removes an attribute of the first such operator."""

    def change(model: onnx.ModelProto) -> None:
        node = node_of(model, op)
        kept = [one for one in node.attribute if one.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, *([] if value is None else [helper.make_attribute(name, value)])])

    change.__name__ = f"{name}={value}"
    return change


def twice(model: onnx.ModelProto) -> None:
    node = node_of(model)
    node.attribute.append(helper.make_attribute("height", 2048))


def two_values(model: onnx.ModelProto) -> None:
    next(one for one in node_of(model).attribute if one.name == "height").f = 2048.0


def giant_image(model: onnx.ModelProto) -> None:
    attribute("height", 4096)(model)
    attribute("width", 4096)(model)


def other_operator(model: onnx.ModelProto) -> None:
    node_of(model).op_type = "System"


def standard_name_in_the_domain(model: onnx.ModelProto) -> None:
    model.graph.node.insert(0, helper.make_node("Identity", ["weights"], ["x0"], domain="everface"))


def other_version(model: onnx.ModelProto) -> None:
    next(one for one in model.opset_import if one.domain == "everface").version = 2


def other_domain(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.node.insert(0, helper.make_node("Gelu", ["weights"], ["x0"], domain="com.microsoft"))


def domain_not_imported(model: onnx.ModelProto) -> None:
    kept = [one for one in model.opset_import if one.domain != "everface"]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def weights_computed(model: onnx.ModelProto) -> None:
    node = node_of(model)
    model.graph.node.insert(0, helper.make_node("Identity", [node.input[2]], ["computed"]))
    node.input[2] = "computed"


def weights_of_another_shape(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((12, 12, 2, 2), np.float32), "square"))
    node_of(model).input[2] = "square"


def weights_of_whole_numbers(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((12, 12, 3, 3), np.int32), "whole"))
    node_of(model).input[2] = "whole"


def no_channels(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((0, 12, 3, 3), np.float32), "nothing"))
    node_of(model).input[2] = "nothing"


def styles_of_another_layer(model: onnx.ModelProto) -> None:
    node_of(model).input[1] = "weights"


def inputs_left_out(model: onnx.ModelProto) -> None:
    node_of(model).input[3] = ""


def more_inputs(model: onnx.ModelProto) -> None:
    node = node_of(model)
    node.input.extend([node.input[1]] * 3)


def two_results(model: onnx.ModelProto) -> None:
    node_of(model).output.append("more")


def many(model: onnx.ModelProto) -> None:
    node = node_of(model)
    for i in range(80):
        copy = model.graph.node.add()
        copy.CopyFrom(node)
        copy.output[0] = f"copy{i}"


def image_of_strings(model: onnx.ModelProto) -> None:
    model.graph.node.insert(0, helper.make_node("Cast", ["weights"], ["text"], to=onnx.TensorProto.STRING))


def skip_of_another_size(model: onnx.ModelProto) -> None:
    node_of(model, "ToRGB", last=True).input[4] = node_of(model, "ToRGB").output[0]


WRONG = [
    *(attribute(name, None) for name in ("height", "width", "up", "demodulate", "slope", "gain", "clamp")),
    *(attribute(name, value) for name, value in (
        ("height", 0), ("height", -4), ("height", 2**62), ("height", 5), ("height", [4, 4]), ("height", 4.0), ("up", 3),
        ("up", 2), ("demodulate", 2), ("slope", float("nan")), ("gain", float("inf")), ("gain", -1.0), ("gain", 1),
        ("clamp", 0.0), ("clamp", "loud"), ("more", 1), ("more", "text"),
    )),
    attribute("clamp", None, "ToRGB"), attribute("clamp", -1.0, "ToRGB"), attribute("up", 2, "ToRGB"),
    twice, two_values, giant_image, other_operator, standard_name_in_the_domain, other_version, other_domain,
    domain_not_imported, weights_computed, weights_of_another_shape, weights_of_whole_numbers, no_channels,
    styles_of_another_layer, inputs_left_out, more_inputs, two_results, many, image_of_strings, skip_of_another_size,
]  # fmt: skip


@pytest.mark.parametrize("change", WRONG, ids=lambda change: change.__name__)
def test_graphs_that_ask_other_things(change: Change, custom: Path, tmp_path: Path) -> None:
    path = forged(tmp_path, custom, change)
    data = members_of(path)["personal.onnx"]
    with pytest.raises(IntegrityError, match=r"personal\.onnx"):
        check_graph(data, {"weights": (1, 7)}, (1, 3, 16, 16), "personal.onnx", operators=True)
    refused(path, r"personal\.onnx")


def test_the_guard_tells_whether_operators_are_used(custom: Path, bundle: Path) -> None:
    for path, used in ((custom, True), (bundle, False)):
        data = members_of(path)["personal.onnx"]
        assert check_graph(data, {"weights": (1, 7)}, (1, 3, 16, 16), "personal", operators=True) is used
