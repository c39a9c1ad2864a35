"""Files of an export: named all at once, or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.export.conftest import export_2d, quick_judge

from everface.engine.errors import ExportError
from everface.engine.generators.stylegan2.generator import Generator
from everface.export.job import Job, ProvenGraph
from everface.export.model2d import Model2D
from everface.export.recipe import ExportRecipe
from everface.export.report import Parity
from everface.export.targets import OnnxTarget
from everface.export.writing import write_proven

Anchors = list[NDArray[np.float32]]


def test_what_was_proven_is_written_with_its_manifest(tmp_path: Path, generator: Generator) -> None:
    metadata = {"precision": "fp32", "everface_version": "1"}
    job = Job(Model2D(generator.weights(), []), ExportRecipe(), metadata, quick_judge, OnnxTarget())
    parity = Parity("mapping", "nowhere", 1, (1,), 0.25, 0.1, 0.2)
    report = write_proven(job, tmp_path / "out", lambda: [ProvenGraph("mapping", b"graph", parity, 8)], 0.0)
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["manifest.json", "mapping.onnx"]
    assert (tmp_path / "out/mapping.onnx").read_bytes() == b"graph"
    assert (report.max_error, report.ir_version) == (0.25, 8)


def test_paths_that_cannot_be_written(tmp_path: Path, generator: Generator, anchors: Anchors) -> None:
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ExportError, match=r"folder\.onnx: expected a file, found a folder; name another"):
        export_2d(generator, anchors, tmp_path / "folder.onnx")
    with pytest.raises(ExportError, match="expected an existing folder for it, found none; make the folder"):
        export_2d(generator, anchors, tmp_path / "none/me.onnx")
    (tmp_path / "file").write_bytes(b"kept")
    with pytest.raises(ExportError, match=r"expected a folder or a \.onnx file, found another file"):
        export_2d(generator, anchors, tmp_path / "file")
    with pytest.raises(ExportError, match="expected a place to write to"):
        export_2d(generator, anchors, tmp_path / "none/deeper")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "folder.onnx"]


@pytest.mark.parametrize("step", ["NamedTemporaryFile", "fsync", "replace"])
def test_full_disk(
    step: str, tmp_path: Path, generator: Generator, anchors: Anchors, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "me.onnx").write_bytes(b"earlier")
    monkeypatch.setattr(tempfile if step == "NamedTemporaryFile" else os, step, full)
    with pytest.raises(
        ExportError, match=r"me\.onnx: expected a place to write to, found No space left on device; free"
    ):
        export_2d(generator, anchors, tmp_path / "me.onnx")
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("me.onnx", b"earlier")]
