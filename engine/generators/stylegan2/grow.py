"""A generator of twice the resolution that begins with the same pictures."""

from __future__ import annotations

import dataclasses

import torch

from everface.engine.errors import UsageError
from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.generators.stylegan2.layers import ToRGB


def grow(generator: Generator, resolution: int, seed: int = 0) -> Generator:
    """Adds blocks up to a resolution.

    The skip architecture (Karras et al. 2020, section 4.2) sums the RGB outputs of all blocks, so new blocks whose
    torgb is zero leave the picture as it was, enlarged by the FIR. Styles of the new layers are W's as for the others.

    Args:
        generator: the smaller generator, unchanged.
        resolution: a power of two, at least the generator's.
        seed: of the new blocks' random weights.

    Raises:
        UsageError: a smaller resolution.
    """
    if resolution < generator.config.resolution:
        raise UsageError("resolution", expected=f"at least {generator.config.resolution}", found=str(resolution))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        grown = Generator(dataclasses.replace(generator.config, resolution=resolution))
    for block in grown.synthesis.blocks():
        if block.resolution > generator.config.resolution:
            _silence(block.torgb)
    state = grown.state_dict() | {name: value.clone() for name, value in generator.state_dict().items()}
    grown.load_state_dict(state)
    return grown.eval()


@torch.no_grad()
def _silence(torgb: ToRGB) -> None:
    torgb.weight.zero_()
    torgb.bias.zero_()
