"""Perceptual path length: zero for a generator that shows one picture, larger for one that turns sharply."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from everface.engine.errors import UsageError
from everface.engine.generators.bases import load_base
from everface.engine.latents.smoothness import path_length
from everface.engine.perception.perceptual import PerceptualDistance


def test_path_length_grows_with_the_change_of_the_pictures(tiny_base: Path) -> None:
    generator, perceptual = load_base(str(tiny_base)).generator, PerceptualDistance.load()
    usual = path_length(generator, perceptual, paths=6)
    assert usual > 0
    assert path_length(generator, perceptual, paths=6) == usual
    steep, still = copy.deepcopy(generator), copy.deepcopy(generator)
    with torch.no_grad():
        for name, value in steep.synthesis.named_parameters():
            if name.endswith("affine.weight"):
                value.mul_(4)
        for name, value in still.synthesis.named_parameters():
            if name.endswith("affine.weight"):
                value.zero_()
    assert path_length(steep, perceptual, paths=6) > 2 * usual
    assert path_length(still, perceptual, paths=6) < 1e-3 * usual


@pytest.mark.parametrize("bad", [{"step": 0.0}, {"step": float("nan")}, {"paths": 0}])
def test_bad_numbers(tiny_base: Path, bad: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        path_length(load_base(str(tiny_base)).generator, PerceptualDistance.load(), **bad)  # type: ignore[arg-type]
