"""Anchors: from the encoder where there is one, from the mean where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from everface.engine.config import InvertConfig
from everface.engine.latents.encoder import Encoder, EncoderConfig, encoder_to_bytes
from everface.engine.learn.backend import Backend
from everface.engine.learn.capture import capture
from everface.engine.pictures import to_uint8
from everface.engine.progress import Progress


def test_the_encoder_says_where_to_begin(
    tiny_base: Path, tmp_path: Path, quick_backend: Callable[..., Backend]
) -> None:
    base = tmp_path / "tiny.safetensors"
    shutil.copy(tiny_base, base)
    plain = quick_backend(base=str(base))
    code = plain.model(None).map(np.random.default_rng(1).standard_normal((1, 32), np.float32))
    images = to_uint8(plain.model(None).render(code))
    encoder = Encoder(EncoderConfig(16, 32, (8, 16, 16)))
    torch.nn.init.zeros_(encoder.fc.weight)
    torch.nn.init.zeros_(encoder.fc.bias)
    encoder.w_avg.copy_(torch.from_numpy(code[0]))
    without = capture(plain, images, plain.prepare(images), np.zeros((1, 0)), InvertConfig(1, 1e-3))
    (tmp_path / "tiny-encoder.safetensors").write_bytes(encoder_to_bytes(encoder, {}))
    backend = quick_backend(base=str(base))
    anchors = capture(backend, images, backend.prepare(images), np.zeros((1, 0)), InvertConfig(1, 1e-3))
    assert anchors.losses[0] < 0.5 * without.losses[0]


def test_without_an_encoder_the_search_takes_three_times_the_steps(
    tiny_base: Path, quick_backend: Callable[..., Backend]
) -> None:
    backend = quick_backend(base=str(tiny_base))
    images = np.zeros((1, 16, 16, 3), np.uint8)
    heard: list[Progress] = []
    capture(backend, images, backend.prepare(images), np.zeros((1, 0)), InvertConfig(2), on_progress=heard.append)
    assert heard[-1].done == heard[-1].total == 6
