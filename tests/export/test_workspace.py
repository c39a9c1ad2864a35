"""Export of an open engine: what it takes from the workspace."""

from __future__ import annotations

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
from everface.engine.generators.stylegan2 import Generator
from everface.export.workspace import export_workspace

Codes = NDArray[np.float32]


def engine_of(generator: Generator, anchors: list[tuple[int, Codes]]) -> Any:
    store = SimpleNamespace(anchors=lambda: anchors, state=SimpleNamespace(model="cd" * 32))
    base = Base("/somewhere/private/mine.safetensors", "ab" * 32, "2d", {"terms": "ask first"}, generator.to_bytes({}))
    return SimpleNamespace(generator=generator, store=store, kit=SimpleNamespace(base=base, config=EngineConfig()))


def test_hashes_and_terms_travel(tmp_path: Path, generator: Generator, anchors: list[Codes]) -> None:
    engine = engine_of(generator, list(enumerate(anchors)))
    report = export_workspace(engine, "onnx", tmp_path / "me.onnx", judge=quick_judge)
    assert report.anchors == 7
    found = {one.key: one.value for one in onnx.load(tmp_path / "me.onnx").metadata_props}
    assert found["base"] == "mine.safetensors"
    assert found["base_sha256"] == "ab" * 32
    assert found["model_sha256"] == "cd" * 32
    assert found["terms"] == "ask first"
    assert not any("private" in value for value in found.values())


def test_nobody_learned_yet(tmp_path: Path, generator: Generator) -> None:
    with pytest.raises(NothingToDoError, match="expected a person, found no update yet; run `everface update`"):
        export_workspace(engine_of(generator, []), "onnx", tmp_path / "me.onnx")


def test_unknown_target(tmp_path: Path, generator: Generator) -> None:
    with pytest.raises(UsageError, match=r"to: expected onnx or ort or .*, found 'coreml'"):
        export_workspace(engine_of(generator, []), "coreml", tmp_path / "me.onnx")
