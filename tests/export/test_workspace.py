"""Export of a person: what it takes from the workspace."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from tests.export.conftest import quick_judge

from everface.engine.config import EngineConfig
from everface.engine.errors import NothingToDoError, UsageError
from everface.engine.generators.bases import Base
from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.session import Person
from everface.export.recipe import ExportRecipe
from everface.export.workspace import export_file, export_workspace

Codes = NDArray[np.float32]


def person_of(generator: Generator, anchors: list[Codes]) -> Person:
    data = generator.to_bytes({})
    base = Base("/somewhere/private/mine.safetensors", "ab" * 32, "2d", {"terms": "ask first"}, data)
    content = generator.to_bytes({"base_sha256": base.sha256}) if anchors else None
    backend: Any = SimpleNamespace(base=base)
    return Person("me", EngineConfig(), backend, content, tuple(anchors), None)


def test_hashes_and_terms_travel(tmp_path: Path, generator: Generator, anchors: list[Codes]) -> None:
    person = person_of(generator, anchors)
    report = export_workspace(person, "onnx", tmp_path / "me.onnx", judge=quick_judge)
    assert report.anchors == 7
    found = {one.key: one.value for one in onnx.load(tmp_path / "me.onnx").metadata_props}
    assert found["base"] == "mine.safetensors"
    assert found["base_sha256"] == "ab" * 32
    assert found["model_sha256"] == hashlib.sha256(person.content or b"").hexdigest()
    assert found["terms"] == "ask first"
    assert not any("private" in value for value in found.values())


def test_nobody_learned_yet(tmp_path: Path, generator: Generator) -> None:
    with pytest.raises(NothingToDoError, match="expected a person, found no update yet; run `everface update`"):
        export_workspace(person_of(generator, []), "onnx", tmp_path / "me.onnx")


def test_unknown_target(tmp_path: Path, generator: Generator) -> None:
    with pytest.raises(UsageError, match=r"to: expected onnx or ort or .*, found 'coreml'"):
        export_workspace(person_of(generator, []), "coreml", tmp_path / "me.onnx")


def test_a_delta_is_of_its_base(tmp_path: Path, generator: Generator, anchors: list[Codes]) -> None:
    report = export_workspace(person_of(generator, anchors), "delta", tmp_path / "me.delta", judge=quick_judge)
    assert report.target == "delta"
    assert report.max_error < 1e-6  # nothing was tuned


@pytest.mark.parametrize("target", ["bundle", "delta"])
def test_a_file_is_nobody(tmp_path: Path, tiny_base: Path, target: str) -> None:
    with pytest.raises(UsageError, match="expected a workspace with a person, found tiny"):
        export_file(tiny_base, target, tmp_path / "out")


@pytest.mark.parametrize(("dimension", "graphs"), [("2d", ["synthesis", "mapping"]), ("3d", ["view"])])
def test_a_file_of_either_dimension(
    tmp_path: Path, tiny_base: Path, tiny_3d: Path, dimension: str, graphs: list[str]
) -> None:
    file = tiny_base if dimension == "2d" else tiny_3d
    recipe = ExportRecipe(graphs=tuple(graphs), samples=1)
    report = export_file(file, "onnx", tmp_path / "out", recipe, judge=quick_judge)
    assert [one.graph for one in report.files] == graphs
    assert all(one.parity.passed for one in report.files)
