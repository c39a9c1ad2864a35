"""Seeded EG3Ds of published shapes, and what the original implementation makes of them.

The original's code is not here: ``tools/golden_eg3d.py`` runs a checkout of it once and keeps a few hundred of its
numbers, against which the tests compare.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from tools.agreement import seeded_state
from torch import Tensor

from everface.engine.generators.eg3d.config import EG3DConfig, RenderConfig
from everface.engine.generators.eg3d.generator import TriPlaneGenerator
from everface.engine.generators.eg3d.sampling import Jitter
from everface.engine.generators.stylegan2.config import StyleGAN2Config

PARTS = ("planes", "raw", "depth", "image")
_POINTS = 32


@dataclass(frozen=True)
class Case:
    """One configuration, where it was published, and a factor of the planes that makes densities like trained ones."""

    config: EG3DConfig
    published: str
    gain: float = 0.5


def _backbone(base: int) -> StyleGAN2Config:
    return StyleGAN2Config(
        resolution=256, c_dim=25, mapping_layers=2, channel_base=base, channel_max=base // 64, img_channels=96
    )


def _small(kind: str, resolution: int, neural: int) -> EG3DConfig:
    render = RenderConfig(samples=12, importance_samples=12)
    return EG3DConfig(_backbone(1024), resolution, neural, kind, 256 if kind == "8XDC" else 128, render=render)


CASES = {
    "ffhqrebalanced512-128": Case(EG3DConfig(), "FFHQ rebalanced, 128 neural pixels"),
    "ffhq512-64": Case(EG3DConfig(neural_resolution=64), "FFHQ 512, 64 neural pixels"),
    "small-8X": Case(_small("8X", 512, 160), "the superresolution of 512 pixels, from a larger raw image", 0.1),
    # Of equal sizes the original adds to its raw image in place, so that its raw output is another.
    "small-4X": Case(_small("4X", 256, 64), "the superresolution of 256 pixels, from a smaller raw image", 0.1),
    "small-2X": Case(_small("2X", 128, 32), "the superresolution of 128 pixels, from a smaller raw image", 0.1),
}


def seeded_eg3d(config: EG3DConfig, gain: float = 0.5) -> TriPlaneGenerator:
    """A generator with weights that depend on their names alone; ``gain`` is a factor of the planes."""
    with torch.device("meta"):
        generator = TriPlaneGenerator(config)
    state = seeded_state(generator, lambda name, numbers: _scaled(name, numbers, gain))
    generator.load_state_dict(state, assign=True)
    return generator.eval().requires_grad_(False)


def _scaled(name: str, numbers: Tensor, gain: float) -> Tensor:
    kind = name.rsplit(".", 1)[-1]
    factor: float | Tensor = {"noise_strength": 0.2, "w_avg": 0.3, "bias": 0.3}.get(kind, 1.0)
    shift: float | Tensor = 0.0
    if name.startswith("backbone.mapping.fc"):
        factor = 100 if kind == "weight" else 10
    elif name.endswith("affine.bias"):
        factor, shift = 0.2, 1.0
    elif name.startswith("backbone.synthesis") and ".torgb." in name and "affine" not in name:
        factor = gain
    elif name == "decoder.net.0.weight":
        factor = 2.0
    elif name == "decoder.net.2.weight":
        factor = torch.tensor([[4.0]] + [[0.7]] * (len(numbers) - 1))
    elif name == "decoder.net.2.bias":
        shift = torch.tensor([4.0] + [0.0] * (len(numbers) - 1))
    return shift + numbers * factor


def seeded_inputs(config: EG3DConfig) -> tuple[Tensor, Tensor]:
    """Z [1, z_dim] and a camera [1, 25] from above and from the side, with a skewed lens."""
    draw = np.random.RandomState(1)
    z = torch.from_numpy(draw.standard_normal((1, config.backbone.z_dim)).astype(np.float32))
    yaw, pitch = 0.4, 0.2
    forward = -np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.stack((right, np.cross(forward, right), forward, -2.7 * forward), axis=1)
    lens = [[4.2647, 0.01, 0.5], [0.0, 4.3, 0.49], [0.0, 0.0, 1.0]]
    label = np.concatenate((pose.ravel(), np.ravel(lens))).astype(np.float32)
    return z, torch.from_numpy(label)[None]


@torch.no_grad()
def render(generator: TriPlaneGenerator, *, noise: bool) -> dict[str, Tensor]:
    """Planes, raw image, depth and image of the seeded inputs; ``noise`` is that of seed 3, or midpoints."""
    z, c = seeded_inputs(generator.config)
    ws = generator.mapping(z, c, psi=0.7, cutoff=7)
    planes = generator.planes(ws)
    jitter = None
    if noise:
        side = generator.config.neural_resolution
        jitter = Jitter.draw(generator.config.render, 1, side * side, torch.Generator().manual_seed(3))
    view = generator.view(planes, ws, c, jitter=jitter)
    return {"planes": planes.flatten(1, 2), "raw": view.raw, "depth": view.depth, "image": view.image}


def sampled(values: Tensor) -> np.ndarray:
    """The values at seeded places: [n, channels, places]."""
    places = _POINTS if values.shape[1] <= 3 else 2
    chosen = np.random.RandomState(2).randint(0, values.shape[2] * values.shape[3], places)
    return np.ascontiguousarray(values.flatten(2)[:, :, torch.from_numpy(chosen)].numpy())
