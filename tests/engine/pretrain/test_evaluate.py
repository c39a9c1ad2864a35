"""What a trained base is measured by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from everface.engine.generators.bases import load_base
from everface.engine.latents.encoder import Encoder, EncoderConfig
from everface.engine.pretrain.evaluate import reconstruction_of, sample, sample_grid
from everface.engine.pretrain.faces import Faces


def test_an_encoder_that_knows_the_only_face_loses_little(tiny_base: Path) -> None:
    generator = load_base(str(tiny_base)).generator
    encoder = Encoder(EncoderConfig(16, 32, (8, 16, 16))).eval().requires_grad_(False)
    torch.nn.init.zeros_(encoder.fc.weight)
    torch.nn.init.zeros_(encoder.fc.bias)
    encoder.w_avg.copy_(generator.mapping(torch.randn(1, 32, generator=torch.Generator().manual_seed(1)))[0])
    with torch.no_grad():
        drawn = generator.synthesis(encoder.w_avg[None])
    pixels = ((drawn.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    index, none = np.arange(4), np.arange(0)
    faces = Faces(np.repeat(pixels, 4, axis=0), tuple("abcd"), none, none, index)
    others = Faces(255 - faces.pixels, faces.names, none, index, none)
    # Not zero: what an untrained generator draws beyond [-1, 1] is cut off in the photo.
    assert reconstruction_of(generator, encoder, faces) < 0.3 * reconstruction_of(generator, encoder, others)


def test_samples_and_grids_have_their_shapes(tiny_base: Path) -> None:
    generator = load_base(str(tiny_base)).generator
    made = sample(generator, 5, seed=1, batch=2)
    assert made.shape == (5, 3, 16, 16)
    assert made.abs().max() <= 1
    encoder = Encoder(EncoderConfig(16, 32, (8, 16, 16)))
    index, none = np.arange(6), np.arange(0)
    faces = Faces(np.zeros((6, 16, 16, 3), np.uint8), tuple("abcdef"), index, none, none)
    assert sample_grid(generator, encoder, faces, columns=3).shape == (5 * 16, 3 * 16, 3)
