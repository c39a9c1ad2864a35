"""Views of heads: those of the generator, with planes that are drawn once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from everface.engine.generators.bases import load_base
from everface.engine.generators.eg3d.heads import Heads
from everface.engine.photos.camera import orbit


def test_views_are_the_generators_and_planes_are_drawn_once(tiny_3d: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load_base(str(tiny_3d), "3d").generator
    styles = torch.randn(1, 32, generator=torch.Generator().manual_seed(0)).expand(3, -1)
    codes = torch.cat([styles, torch.from_numpy(orbit([-30.0, 0.0, 30.0])).float()], dim=1)
    with torch.no_grad():
        expected = generator.render(codes)
    drawn, planes = [], generator.fast_planes
    monkeypatch.setattr(generator, "fast_planes", lambda ws, dtype=None: drawn.append(1) or planes(ws, dtype=dtype))
    heads = Heads(generator)
    torch.testing.assert_close(heads(codes), expected, rtol=1e-4, atol=1e-4)
    assert len(drawn) == 1
    assert heads(codes[:0]).shape == (0, 3, 16, 16)
    for i in range(20):
        heads.planes(torch.full((32,), float(i)))
    assert len(heads._planes) == 16
