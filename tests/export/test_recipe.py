"""Recipes: what may be asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from everface.engine.errors import UsageError
from everface.engine.vault import Key
from everface.export.recipe import GRAPHS, PRECISIONS, TARGETS, ExportRecipe, Tolerance


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target", "coreml"), ("precision", "fp8"), ("opset", 16), ("opset", 99), ("graphs", ("discriminator",)),
        ("graphs", ("mapping", "mapping")), ("psi", -0.1), ("psi", float("nan")), ("samples", 0), ("seed", -1),
        ("tolerance", Tolerance(max_error=0.0)), ("tolerance", Tolerance(perceptual=float("inf"))), ("size_limit", 0.0),
        ("resolution", 24), ("resolution", 4), ("variant", "traced"),
    ],
)  # fmt: skip
def test_values_outside_the_contract(field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=rf"^{field}: expected .*; change the recipe$"):
        ExportRecipe(**{field: value})


def test_graphs_by_path() -> None:
    assert ExportRecipe().graphs_at(Path("me.onnx"), GRAPHS) == ("personal",)
    assert ExportRecipe().graphs_at(Path("folder"), GRAPHS) == GRAPHS
    assert ExportRecipe(graphs=("mapping",)).graphs_at(Path("me.onnx"), GRAPHS) == ("mapping",)
    with pytest.raises(UsageError, match=r"graphs: expected one for the file me\.onnx"):
        ExportRecipe(graphs=("mapping", "personal")).graphs_at(Path("me.onnx"), GRAPHS)


def test_files_by_target() -> None:
    suffixes = [".onnx", ".ort", ".engine", ".engine", ".bundle", ".delta"]
    assert [ExportRecipe(target).suffix for target in TARGETS] == suffixes
    assert ExportRecipe("ort").graphs_at(Path("me.ort"), GRAPHS) == ("personal",)
    assert ExportRecipe("bundle").graphs_at(Path("anything"), GRAPHS) == ("personal",)


def test_options_that_a_target_lacks() -> None:
    with pytest.raises(UsageError, match="noise_inputs: expected a target that has optional inputs, found tensorrt"):
        ExportRecipe("tensorrt", noise_inputs=True)
    with pytest.raises(UsageError, match="key: expected the target bundle, found onnx; only bundles are encrypted"):
        ExportRecipe(key=Key(b"secret"))
    assert "secret" not in repr(ExportRecipe("bundle", key=Key(b"secret")))


def test_bfloat16_arithmetic_needs_a_newer_opset() -> None:
    assert ExportRecipe("tensorrt-rtx", "bf16").graph_opset == 22
    assert ExportRecipe("onnx", "bf16").graph_opset == 17
    assert ExportRecipe("tensorrt-rtx", "bf16", opset=24).graph_opset == 24


@pytest.mark.parametrize("precision", PRECISIONS)
def test_tolerances(precision: str) -> None:
    recipe = ExportRecipe(precision=precision)
    pictures, codes = recipe.tolerance_of("personal", images=True), recipe.tolerance_of("mapping", images=False)
    if precision == "fp32":
        assert pictures == codes == Tolerance(max_error=1e-4)
    else:
        assert pictures.perceptual is not None and pictures.identity_drift is not None
        assert codes.relative_error is not None
    own = Tolerance(max_error=3.0)
    assert ExportRecipe(tolerance=own).tolerance_of("personal", images=True) == own
