"""The synthesis network: noise, styles, batches."""

from __future__ import annotations

import pytest
import torch

from everface.engine.errors import UsageError
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.generators.stylegan2.synthesis import SynthesisNetwork

CONFIG = StyleGAN2Config(resolution=32, z_dim=24, w_dim=24, mapping_layers=3, channel_base=256, channel_max=16)


def double(module: torch.nn.Module) -> torch.nn.Module:
    return module.double().eval().requires_grad_(False)


def test_noise_reaches_every_layer() -> None:
    generator = Generator(CONFIG)
    ws = torch.randn(2, 24)
    for block in generator.synthesis.blocks():
        for name in ("conv0", "conv1")[2 - block.num_convs :]:
            strength = block.get_submodule(name).noise_strength.data.fill_(0.5)
            assert not torch.equal(generator.synthesis(ws), generator.synthesis(ws, noise=False))
            strength.fill_(0.0)
    assert torch.equal(generator.synthesis(ws), generator.synthesis(ws, noise=False))


def test_each_sample_is_independent_of_its_batch() -> None:
    torch.manual_seed(3)
    generator = double(Generator(CONFIG))
    ws = torch.randn(3, CONFIG.num_ws, 24, dtype=torch.float64)
    together = generator.synthesis(ws)
    alone = torch.cat([generator.synthesis(row[None]) for row in ws])
    assert together.shape == (3, 3, 32, 32)
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


def test_w_is_used_for_every_layer() -> None:
    torch.manual_seed(4)
    generator = double(Generator(CONFIG))
    w = torch.randn(2, 24, dtype=torch.float64)
    whole = generator.synthesis(w[:, None].expand(-1, CONFIG.num_ws, -1))
    torch.testing.assert_close(generator.synthesis(w), whole)


def test_wrong_style_shape_is_refused() -> None:
    with pytest.raises(UsageError, match="ws: expected"):
        SynthesisNetwork(CONFIG)(torch.zeros(1, 3, 24))
