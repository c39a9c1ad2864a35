"""The mapping network: truncation, cutoff, labels, and the same numbers without PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from everface.engine.errors import UsageError
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.generators.stylegan2.weights import StyleGAN2Weights

CONFIG = StyleGAN2Config(resolution=32, z_dim=24, w_dim=24, mapping_layers=3, channel_base=256, channel_max=16)


def test_arrays_map_like_the_network(tiny_base: Path) -> None:
    weights = StyleGAN2Weights.from_bytes(tiny_base.read_bytes(), "tiny")
    z = torch.randn(5, 32, generator=torch.Generator().manual_seed(1))
    wanted = Generator.from_weights(weights).mapping.double()(z.double(), psi=0.6).numpy()
    # Two layers of 32 products and a few further roundings each, of values up to the largest; margin 2.
    atol = 2 * 2 * (32 + 6) * np.spacing(np.float32(np.abs(wanted).max()))
    np.testing.assert_allclose(weights.map(z.numpy(), 0.6), wanted, atol=atol)
    with pytest.raises(UsageError, match="z: expected"):
        weights.map(z[:, :3].numpy())
    labelled = Generator(StyleGAN2Config(8, 6, 6, c_dim=3, mapping_layers=1, channel_base=64)).weights()
    with pytest.raises(UsageError, match="without labels"):
        labelled.map(z[:, :6].numpy())


def test_mapping_normalises_z_and_truncates() -> None:
    torch.manual_seed(2)
    generator = Generator(CONFIG).double().requires_grad_(False)
    generator.mapping.w_avg.normal_()
    z = torch.randn(5, 24, dtype=torch.float64)
    w = generator.mapping(z)
    torch.testing.assert_close(generator.mapping(z * 3), w, rtol=1e-6, atol=1e-8)
    mean = generator.mapping.w_avg
    torch.testing.assert_close(generator.mapping(z, psi=0.5), (w + mean) / 2)
    torch.testing.assert_close(generator.mapping(z, psi=0.0), mean.expand(5, -1))


def test_a_cutoff_truncates_the_first_styles_only() -> None:
    generator = Generator(CONFIG)
    generator.mapping.w_avg.normal_()
    z = torch.randn(3, 24)
    full, short = generator.mapping(z), generator.mapping(z, psi=0.3)
    ws = generator.mapping(z, psi=0.3, cutoff=2)
    assert ws.shape == (3, CONFIG.num_ws, 24)
    assert torch.equal(ws[:, :2], short[:, None].expand(-1, 2, -1))
    assert torch.equal(ws[:, 2:], full[:, None].expand(-1, CONFIG.num_ws - 2, -1))
    torch.testing.assert_close(generator(z, psi=0.3, cutoff=0), generator(z))
    for wrong in (-1, CONFIG.num_ws + 1):
        with pytest.raises(UsageError, match="cutoff"):
            generator.mapping(z, psi=0.3, cutoff=wrong)


def test_conditional_mapping_needs_its_label() -> None:
    config = StyleGAN2Config(resolution=8, z_dim=8, w_dim=8, c_dim=3, channel_base=64, channel_max=8)
    generator = Generator(config).requires_grad_(False)
    assert generator(torch.randn(2, 8), torch.randn(2, 3)).shape == (2, 3, 8, 8)
    with pytest.raises(UsageError, match="label"):
        generator(torch.randn(2, 8))
