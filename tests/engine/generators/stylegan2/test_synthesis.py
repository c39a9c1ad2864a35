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


def test_random_noises_reach_every_layer() -> None:
    generator = Generator(CONFIG)
    noises = generator.synthesis.random_noises(2, torch.Generator().manual_seed(1))
    again = generator.synthesis.random_noises(2, torch.Generator().manual_seed(1))
    layers = [name.removesuffix(".noise_const") for name, _ in generator.synthesis.named_buffers()]
    assert sorted(noises) == sorted(name for name in layers if ".conv" in name and "filter" not in name)
    ws = torch.randn(2, 24)
    for block in generator.synthesis.blocks():
        for name in ("conv0", "conv1")[2 - block.num_convs :]:
            layer = block.get_submodule(name)
            layer.noise_strength.data.fill_(0.5)
            noise = noises[f"b{block.resolution}.{name}"]
            assert torch.equal(noise, again[f"b{block.resolution}.{name}"])
            assert noise.shape == (2, 1, block.resolution, block.resolution)
            assert not torch.equal(
                generator.synthesis(ws, {f"b{block.resolution}.{name}": noise}), generator.synthesis(ws)
            )
            layer.noise_strength.data.fill_(0.0)


def test_each_sample_is_independent_of_its_batch() -> None:
    torch.manual_seed(3)
    generator = double(Generator(CONFIG))
    ws = torch.randn(3, CONFIG.num_ws, 24, dtype=torch.float64)
    together = generator.synthesis(ws)
    alone = torch.cat([generator.synthesis(row[None]) for row in ws])
    assert together.shape == (3, 3, 32, 32)
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


def test_w_is_used_for_every_layer_and_noise_can_be_given() -> None:
    torch.manual_seed(4)
    generator = double(Generator(CONFIG))
    w = torch.randn(2, 24, dtype=torch.float64)
    whole = generator.synthesis(w[:, None].expand(-1, CONFIG.num_ws, -1))
    torch.testing.assert_close(generator.synthesis(w), whole)
    generator.synthesis.b8.conv1.noise_strength.fill_(1.0)
    noise = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    changed = generator.synthesis(w, {"b8.conv1": noise})
    assert (changed - generator.synthesis(w)).abs().max() > 1e-3


def test_wrong_style_shape_is_refused() -> None:
    with pytest.raises(UsageError, match="ws: expected"):
        SynthesisNetwork(CONFIG)(torch.zeros(1, 3, 24))
