"""Superresolution: sizes of its kinds, and the last style for all layers."""

from __future__ import annotations

import pytest
import torch

from everface.engine.generators.eg3d.config import SUPERRESOLUTIONS, EG3DConfig
from everface.engine.generators.eg3d.superresolution import Superresolution
from everface.engine.generators.stylegan2.config import StyleGAN2Config


@pytest.mark.parametrize("kind", [kind for kind in SUPERRESOLUTIONS if kind != "none"])
def test_it_enlarges_whatever_the_renderer_gives(kind: str) -> None:
    backbone = StyleGAN2Config(16, 8, 8, 25, 1, 128, 8, 12)
    config = EG3DConfig(backbone, 32, 16, kind, sr_channels=8, decoder_hidden=4)
    torch.manual_seed(0)
    network = Superresolution(config)
    ws = torch.randn(2, 6, 8)
    for side in (8, 16, 24):
        features = torch.randn(2, 4, side, side)
        image = network(features[:, :3], features, ws)
        assert image.shape == (2, 3, 32, 32)
        assert torch.equal(image, network(features[:, :3], features, ws[:, -1:]))
