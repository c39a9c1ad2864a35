"""The mapping network: truncation, cutoff, labels, and the same numbers without PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from everface.engine.errors import UsageError
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.generators.stylegan2.mapping import MappingNetwork
from everface.engine.generators.stylegan2.weights import StyleGAN2Weights


def test_arrays_map_like_the_network(tiny_base: Path) -> None:
    weights = StyleGAN2Weights.from_bytes(tiny_base.read_bytes(), "tiny")
    z = torch.randn(5, 32, generator=torch.Generator().manual_seed(1))
    wanted = Generator.from_weights(weights).mapping.double()(z.double(), psi=0.6).numpy()
    # Both round to float32 at the end; twice the spacing of the largest value.
    np.testing.assert_allclose(
        weights.map(z.numpy(), 0.6), wanted, atol=2 * np.spacing(np.float32(np.abs(wanted).max()))
    )


def test_truncation_ends_at_the_cutoff() -> None:
    torch.manual_seed(0)
    mapping = MappingNetwork(StyleGAN2Config(8, 6, 6, mapping_layers=2, channel_base=64))
    mapping.w_avg.normal_()
    z = torch.randn(2, 6)
    codes = mapping(z, psi=0.0, cutoff=3)
    assert codes.shape == (2, 4, 6)
    torch.testing.assert_close(codes[:, :3], mapping.w_avg.expand(2, 3, -1))
    torch.testing.assert_close(codes[:, 3], mapping(z))
    with pytest.raises(UsageError, match="cutoff"):
        mapping(z, cutoff=5)


def test_a_label_is_asked_for() -> None:
    mapping = MappingNetwork(StyleGAN2Config(8, 6, 6, c_dim=3, mapping_layers=1, channel_base=64))
    with pytest.raises(UsageError, match="a label"):
        mapping(torch.randn(1, 6))
    z = torch.randn(1, 6)
    assert not torch.equal(mapping(z, torch.eye(3)[:1]), mapping(z, torch.eye(3)[1:2]))
