"""Agreement with the original StyleGAN2, whose pixels for our seeded weights are kept in ``stylegan2_golden.npz``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tools.agreement import CASES, Case, render, sampled, seeded_generator, seeded_inputs

from everface.engine.ops.synthesis.inference import PackedSynthesis

GOLDEN = Path(__file__).parents[2] / "data" / "stylegan2_golden.npz"
FAST = {"64-16384-map2-label10", "64-16384-map2-clamped"}


def bound(case: Case) -> float:
    """The largest difference of a pixel; that of images of 800, which the clamps of 256 give, is in proportion."""
    return 1e-4 if case.gain < 100 else 1e-5 * 800


def cases() -> list[object]:
    return [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in CASES]


@pytest.mark.parametrize("name", cases())
def test_images_are_those_of_the_original(name: str) -> None:
    case = CASES[name]
    generator = seeded_generator(case)
    with np.load(GOLDEN) as golden:
        wanted = {kind: golden[f"{name}/{kind}"] for kind in ("noise", "plain")}
    for kind, pixels in wanted.items():
        found = sampled(render(generator, noise=kind == "noise"))
        assert np.abs(found - pixels).max() <= bound(case), kind
    if case.config.img_channels <= 4:
        z, c = seeded_inputs(case.config)
        ws = generator.mapping(z, c, psi=0.7, cutoff=case.config.num_ws // 2)
        native = sampled(torch.from_numpy(PackedSynthesis(generator.synthesis.arrays())(ws.detach().numpy())))
        assert np.abs(native - wanted["noise"]).max() <= bound(case)


def test_the_clamped_cases_clamp() -> None:
    # Without the clamps the images are others: the agreement of these cases is about the clamps.
    generator = seeded_generator(CASES["64-16384-map2-clamped"])
    clamped = render(generator, noise=False)
    for block in generator.synthesis.blocks():
        for layer in block.children():
            layer.clamp = None
    assert (clamped - render(generator, noise=False)).abs().mean() > 0.1
