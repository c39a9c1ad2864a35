"""What a bundle holds, beside what its reader sees (tests/export/runtime)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.export.conftest import quick_judge

from everface.engine.generators.bases import load_base
from everface.engine.generators.stylegan2.generator import Generator
from everface.export.bundle import prove_bundle
from everface.export.job import Job, ProvenGraph
from everface.export.model import Exportable
from everface.export.model2d import Model2D
from everface.export.model3d import Model3D
from everface.export.recipe import ExportRecipe
from everface.export.report import Parity
from everface.export.runtime.container import Container
from everface.export.targets import OnnxTarget

METADATA = {"notice": "of a person", "precision": "fp32", "psi": "1", "everface_version": "1", "terms": "ask first"}


def members(model: Exportable, folder: Path) -> dict[str, bytes]:
    """Files of the bundle of a model's personal graph."""
    recipe = ExportRecipe("bundle")
    job = Job(model, recipe, METADATA, quick_judge, OnnxTarget())
    data = OnnxTarget().encode(model.build("personal", recipe, {}))
    parity = Parity("personal", "nowhere", 1, (1,), 0.25, 0.1, 0.2, 0.5, 0.125)
    path = folder / "me.bundle"
    path.write_bytes(prove_bundle(job, [ProvenGraph("personal", data, parity, 8)]).data)
    container = Container(path)
    return {name: container.read(name, size) for name, size in container.sizes.items()}


def test_sizes_anchors_terms_and_card(tmp_path: Path, generator: Generator, anchors: list[NDArray[np.float32]]) -> None:
    files = members(Model2D(generator.weights(), anchors), tmp_path)
    manifest = json.loads(files["manifest.json"])
    assert (manifest["dimension"], manifest["resolution"], manifest["anchor_groups"]) == ("2d", 16, [3, 4])
    np.testing.assert_array_equal(np.frombuffer(files["anchors.f32"], "<f4").reshape(-1, 24), np.concatenate(anchors))
    assert b"ask first" in files["LICENSE.txt"]
    assert "| personal |" in files["MODEL_CARD.md"].decode()
    assert "front.f32" not in files


def test_a_3d_bundle_knows_its_front(tmp_path: Path, tiny_3d: Path) -> None:
    generator = load_base(str(tiny_3d), "3d").generator
    anchors = [np.random.default_rng(0).standard_normal((2, 32), np.float32)]
    files = members(Model3D(generator, anchors), tmp_path)
    assert json.loads(files["manifest.json"])["dimension"] == "3d"
    front = np.frombuffer(files["front.f32"], "<f4")
    assert front.shape == (25,)
    assert front[11] == pytest.approx(2.7)  # before the face
    assert "tri-plane" in files["MODEL_CARD.md"].decode()
