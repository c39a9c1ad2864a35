"""Seeded generators of the published shapes, and what the original implementation makes of them.

The originals' code is not here: ``tools/golden_stylegan2.py`` runs a checkout of it once and keeps a few hundred of
its pixels, against which the tests compare.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.generator import Generator

_POINTS = 128


@dataclass(frozen=True)
class Case:
    """One published configuration.

    Attributes:
        config: its shape.
        published: where it was used.
        gain: factor of the biases; large ones reach the clamps.
    """

    config: StyleGAN2Config
    published: str
    gain: float = 1.0


def _config(resolution: int, base: int, layers: int, **more: int | float) -> StyleGAN2Config:
    clamp = more.pop("conv_clamp", 256.0)
    return StyleGAN2Config(
        resolution=resolution,
        channel_base=base,
        mapping_layers=layers,
        conv_clamp=clamp or None,
        **{name: int(value) for name, value in more.items()},
    )


CASES = {
    "64-16384-map2": Case(_config(64, 16384, 2), "StyleGAN2-ADA auto"),
    "64-32768-map8": Case(_config(64, 32768, 8, conv_clamp=0), "StyleGAN2 config F"),
    "128-16384-map2": Case(_config(128, 16384, 2), "StyleGAN2-ADA auto"),
    "256-16384-map8": Case(_config(256, 16384, 8), "FFHQ 256, StyleGAN2-ADA paper256"),
    "256-16384-map2": Case(_config(256, 16384, 2), "StyleGAN2-ADA auto"),
    "256-32768-map8": Case(_config(256, 32768, 8), "FFHQ 256, StyleGAN3 repository, stylegan2"),
    "512-32768-map2": Case(_config(512, 32768, 2), "StyleGAN2-ADA auto"),
    "512-32768-map8": Case(_config(512, 32768, 8), "FFHQ 512, StyleGAN2-ADA paper512"),
    "1024-16384-map8": Case(_config(1024, 16384, 8, conv_clamp=0), "StyleGAN2 config E"),
    "1024-32768-map2": Case(_config(1024, 32768, 2), "StyleGAN2-ADA auto"),
    "1024-32768-map8": Case(_config(1024, 32768, 8), "FFHQ 1024, StyleGAN2 config F and paper1024"),
    "256-32768-map2-label25": Case(_config(256, 32768, 2, c_dim=25, img_channels=96), "EG3D's backbone"),
    "64-16384-map2-label10": Case(_config(64, 16384, 2, c_dim=10), "StyleGAN2-ADA with labels"),
    "64-16384-map2-clamped": Case(_config(64, 16384, 2, conv_clamp=1.5), "clamps that bite", 3.0),
    "256-32768-map8-clamped": Case(_config(256, 32768, 8), "clamps of 256 that bite", 300.0),
}


def seeded_generator(case: Case, seed: int = 0) -> Generator:
    """A generator of the case's shape with weights that depend on their names and the seed alone."""
    with torch.device("meta"):
        generator = Generator(case.config)
    state = seeded_state(generator, lambda name, numbers: _scaled(name, numbers, case.gain), seed)
    generator.load_state_dict(state, assign=True)
    return generator.eval().requires_grad_(False)


def seeded_state(module: nn.Module, scaled: Callable[[str, Tensor], Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Weights that depend on their names and the seed alone: standard normal numbers, as ``scaled`` makes them."""
    state = {}
    for name, value in module.state_dict().items():
        if name.endswith("resample_filter"):
            taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
            state[name] = torch.outer(taps, taps) / 64
            continue
        draw = np.random.RandomState((zlib.crc32(name.encode()) + seed) % 2**32)
        numbers = torch.from_numpy(draw.standard_normal(tuple(value.shape) or (1,)).astype(np.float32))
        state[name] = scaled(name, numbers.reshape(value.shape))
    return state


def _scaled(name: str, numbers: Tensor, gain: float) -> Tensor:
    if name.startswith("mapping.fc"):
        return numbers * (100 if name.endswith("weight") else 10)
    if name.endswith("affine.bias"):
        return 1 + 0.2 * numbers
    if name.endswith("bias") and name.startswith("synthesis"):
        return 0.3 * gain * numbers
    factors = {"noise_strength": 0.2, "w_avg": 0.3}
    return numbers * factors.get(name.rsplit(".", 1)[-1], 1.0)


def seeded_inputs(config: StyleGAN2Config, n: int = 2, seed: int = 1) -> tuple[Tensor, Tensor | None]:
    """Z [n, z_dim] and labels [n, c_dim] (None without)."""
    draw = np.random.RandomState(seed)
    z = torch.from_numpy(draw.standard_normal((n, config.z_dim)).astype(np.float32))
    labels = draw.standard_normal((n, max(config.c_dim, 1))).astype(np.float32)
    return z, torch.from_numpy(labels) if config.c_dim else None


@torch.no_grad()
def render(generator: Generator, *, noise: bool) -> Tensor:
    """Images of the seeded inputs: constant noise and truncation 0.7 of half of the layers, or neither."""
    z, c = seeded_inputs(generator.config)
    if noise:
        truncated: Tensor = generator(z, c, psi=0.7, cutoff=generator.config.num_ws // 2)
        return truncated
    images: Tensor = generator.synthesis(generator.mapping(z, c), noise=False)
    return images


def sampled(images: Tensor, seed: int = 2) -> np.ndarray:
    """The values at seeded places: [n, channels, places]."""
    places = max(_POINTS * 3 // images.shape[1], 8)
    chosen = np.random.RandomState(seed).randint(0, images.shape[2] * images.shape[3], places)
    return np.ascontiguousarray(images.flatten(2)[:, :, torch.from_numpy(chosen)].numpy())
