"""Parts of the joint recipe, each against what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from everface.engine.generators.bases import load_base
from everface.engine.pretrain.joint import last_two
from everface.engine.pretrain.latent import CodeBank, sliced_distance


def test_the_last_two_pictures_are_the_generators_and_its_cuts(tiny_base: Path) -> None:
    generator = load_base(str(tiny_base)).generator
    codes = generator.mapping(torch.randn(2, 32, generator=torch.Generator().manual_seed(1)))
    with torch.no_grad():
        image, lower = last_two(generator.synthesis, codes, torch.float32)
        torch.testing.assert_close(image, generator.synthesis(codes), rtol=0, atol=1e-6)
        torch.testing.assert_close(lower, generator.cut(8).synthesis(codes), rtol=0, atol=1e-6)


def test_sliced_distance_of_shifted_sets_is_the_shift() -> None:
    draw = torch.Generator().manual_seed(2)
    codes, directions = torch.randn(64, 8, generator=draw), torch.nn.functional.normalize(torch.randn(8, 5), dim=0)
    shift = torch.randn(8, generator=draw)
    assert float(sliced_distance(codes, codes[torch.randperm(64)], directions)) == pytest.approx(0, abs=1e-10)
    want = (shift @ directions).square().mean()
    torch.testing.assert_close(sliced_distance(codes + shift, codes, directions), want)


def test_the_bank_keeps_the_newest() -> None:
    bank = CodeBank(4, 2, torch.device("cpu"))
    for i in range(3):
        assert not bank.full
        bank.add(torch.full((2, 2), float(i)))
        if i == 1:
            break
    bank.add(torch.full((1, 2), 9.0))
    assert bank.full
    assert bank.codes[:, 0].tolist() == [9.0, 1.0, 1.0, 0.0]
