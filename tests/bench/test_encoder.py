"""The benchmark of an encoder: what it says of a perfect one, and what it asks for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from everface.bench import encoder as bench
from everface.engine.config import EngineConfig, InvertConfig
from everface.engine.errors import NothingToDoError
from everface.engine.latents.encoder import Encoder, EncoderConfig, encoder_to_bytes
from everface.engine.learn.backend import open_backend
from everface.engine.perception.tensors import to_images


def test_an_encoder_that_knows_the_code_beats_a_search(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "tiny.safetensors"
    shutil.copy(tiny_base, base)
    backend = open_backend(EngineConfig(base=str(base)))
    generator = backend.base.generator
    known = generator.mapping(torch.randn(1, 32, generator=torch.Generator().manual_seed(1)))
    photos = to_images(generator.synthesis(known).expand(3, -1, -1, -1).contiguous())
    with pytest.raises(NothingToDoError, match="encoder-only"):
        bench.encoder_rows(backend, photos)
    encoder = Encoder(EncoderConfig(16, known.shape[1], (8, 16, 16)))
    torch.nn.init.zeros_(encoder.fc.weight)
    torch.nn.init.zeros_(encoder.fc.bias)
    encoder.w_avg.copy_(known[0])
    (tmp_path / "tiny-encoder.safetensors").write_bytes(encoder_to_bytes(encoder, {}))
    monkeypatch.setattr(bench, "SHORT", InvertConfig(2, 0.01, 8))
    monkeypatch.setattr(bench, "LONG", InvertConfig(4, 0.01, 8))
    rows = bench.encoder_rows(open_backend(EngineConfig(base=str(base))), photos)
    alone = next(row for row in rows if row.case == "encoder" and row.metric == bench._LOSS)
    assert alone.value < 0.1 and alone.ratio is not None and alone.ratio > 10
    assert [row.case for row in rows if row.metric == bench._LOSS] == [
        "encoder",
        "encoder + 30 steps",
        "30 steps from the mean",
    ]
    assert all(row.peer == "300 steps from the mean" for row in rows)
