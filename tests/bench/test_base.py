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
    said: list[str] = []
    out, picture = tmp_path / "rows.json", tmp_path / "grid.png"
    bench.main(
        [
            str(tmp_path / "faces"),
            "--start",
            "base64",
            "--base",
            "base64",
            "--samples",
            "6",
            "--photos",
            "2",
            "--json",
            str(out),
            "--pictures",
            str(picture),
        ],
        said.append,
    )
    beside = [line for line in said if "(start" in line]
    assert len(beside) >= 5 and all("1.00x better" in line for line in beside)
    assert out.exists() and Image.open(picture).size == (12 * 128, 4 * 128)
