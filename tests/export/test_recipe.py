"""Recipes: what may be asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from everface.engine.errors import UsageError
from everface.export.recipe import GRAPHS, ExportRecipe


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target", "coreml"), ("precision", "fp8"), ("opset", 16), ("opset", 99), ("graphs", ("discriminator",)),
        ("graphs", ("mapping", "mapping")), ("psi", -0.1), ("psi", float("nan")), ("samples", 0), ("seed", -1),
        ("tolerance", 0.0), ("tolerance", float("inf")),
    ],
)  # fmt: skip
def test_values_outside_the_contract(field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=rf"^{field}: expected .*; change the recipe$"):
        ExportRecipe(**{field: value})


def test_graphs_by_path() -> None:
    assert ExportRecipe().graphs_at(Path("me.onnx")) == ("personal",)
    assert ExportRecipe().graphs_at(Path("folder")) == GRAPHS
    assert ExportRecipe(graphs=("mapping",)).graphs_at(Path("me.onnx")) == ("mapping",)
    with pytest.raises(UsageError, match=r"graphs: expected one for the file me\.onnx"):
        ExportRecipe(graphs=("mapping", "personal")).graphs_at(Path("me.onnx"))
