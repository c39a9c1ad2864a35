"""The embedded 3D base."""

from __future__ import annotations

from tests.engine.pretrain.posed.views import evaluate_3d

from everface.engine.assets import asset_path
from everface.engine.generators.bases import load_base
from everface.engine.generators.eg3d.generator import TriPlaneGenerator


def test_the_embedded_base_has_depth_and_stays_one_person() -> None:
    assert asset_path("base3d.safetensors").stat().st_size <= 12_000_000
    generator = load_base("base3d", "3d").generator
    assert isinstance(generator, TriPlaneGenerator)
    found = evaluate_3d(generator, heads=4, pitch=-6.0, yaws=(20.0,))
    assert found.nose_first == 1.0
    assert found.nose > 0.08
    assert found.asymmetry < 0.04
    assert found.relief > 0.02
    assert found.same["20"] > 0.95
