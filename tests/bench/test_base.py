"""The benchmark of a base: against itself nothing is better or worse, and other weights are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everface.bench import base as bench
from everface.engine.config import InvertConfig


@pytest.mark.slow
def test_a_base_beside_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for i in range(48):
        folder = tmp_path / "faces" / "all" / f"person{i}"
        folder.mkdir(parents=True)
        pixels = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "1.png")
    monkeypatch.setattr(bench, "SEARCH", InvertConfig(2, 0.1, 10))
    monkeypatch.setattr(bench, "HELD_OUT", 0.4)
    picture = tmp_path / "grid.png"
    options = bench.Options("base64", samples=6, photos=2, pictures=picture)
    rows = bench.run(tmp_path / "faces", options=options)
    beside = [row for row in rows if row.peer == "start"]
    assert len(beside) >= 5 and all(row.ratio == pytest.approx(1.0, abs=5e-3) for row in beside)
    assert Image.open(picture).size == (12 * 128, 4 * 128)
