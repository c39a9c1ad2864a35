"""The networks of a run: what is trained, and what an encoder begins with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from everface.engine.generators.bases import load_base
from everface.engine.pretrain.config import PretrainConfig
from everface.engine.pretrain.networks import Networks


@pytest.mark.parametrize("encoder_only", [False, True])
def test_what_is_trained(tiny_base: Path, encoder_only: bool) -> None:
    base = load_base(str(tiny_base)).generator
    config = PretrainConfig(resolution=16, encoder_only=encoder_only)
    networks = Networks.build(base, None, config, torch.device("cpu"))
    rates = {name: one.param_groups[0]["lr"] for name, one in networks.optimisers.items()}
    wanted = {"encoder": 5e-4} if encoder_only else {"encoder": 5e-4, "synthesis": 1e-3, "mapping": 1e-2}
    assert rates == pytest.approx(wanted | {"critic": 1e-3})
    assert all(parameter.requires_grad != encoder_only for parameter in networks.generator.parameters())
    assert not any(parameter.requires_grad for parameter in networks.mean_generator.parameters())


def test_a_new_encoder_gives_about_the_mean_face_and_averages_follow(tiny_base: Path) -> None:
    base = load_base(str(tiny_base)).generator
    networks = Networks.build(base, None, PretrainConfig(resolution=16), torch.device("cpu"))
    encoder, photo = networks.encoder, torch.zeros(1, 3, 16, 16)
    with torch.no_grad():
        assert float(((encoder(photo) - encoder.w_avg) / encoder.w_std).square().mean()) < 0.25
        before = encoder.fc.bias.clone()
        encoder.fc.bias.add_(1)
    networks.average(0.75)
    torch.testing.assert_close(networks.mean_encoder.fc.bias, before + 0.25)
