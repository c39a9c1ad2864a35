"""What an importer hands on, and the shape of a StyleGAN2 as its tensors tell it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from everface.engine.generators.importing.limits import refuse
from everface.engine.generators.importing.tensors import Array
from everface.engine.generators.stylegan2.config import StyleGAN2Config

_TAPS = np.array([1, 3, 3, 1], np.float32)
FIR = (np.outer(_TAPS, _TAPS) / 64).astype(np.float32)
_MAX_WIDTH = 4096


@dataclass(frozen=True)
class Imported:
    """A generator out of a checkpoint.

    Attributes:
        architecture: ``stylegan2``, ``stylegan2-synthesis`` (without a mapping network) or ``eg3d``.
        tensors: float32, by NVIDIA's names.
        settings: plain text, to become metadata.
        notes: what a user should know.
    """

    architecture: str
    tensors: dict[str, Array]
    settings: dict[str, str]
    notes: tuple[str, ...] = field(default=())


def config_of(shapes: dict[str, tuple[int, ...]], conv_clamp: float | None) -> StyleGAN2Config:
    """The configuration that tensors of these shapes belong to.

    Args:
        shapes: by NVIDIA's names, from ``mapping.`` and ``synthesis.``; without the former, Z is taken to be like W.
        conv_clamp: cannot be told from shapes.

    Raises:
        CheckpointError: they are not those of a StyleGAN2 of the skip architecture.
    """
    matches = [re.fullmatch(r"synthesis\.b(\d{1,4})\.conv1\.weight", name) for name in shapes]
    channels = {int(match[1]): _size(shapes, match[0], 0) for match in matches if match}
    sides = [2**i for i in range(2, 2 + len(channels))]
    if not channels or sorted(channels) != sides or not 8 <= sides[-1] <= 1024:
        raise refuse("blocks of 4, 8, ... up to 1024 pixels", f"blocks of {sorted(channels)[:12]}")
    w_dim = _size(shapes, "synthesis.b4.conv1.affine.weight", 1)
    c_dim = _size(shapes, "mapping.embed.weight", 1) if "mapping.embed.weight" in shapes else 0
    layers = sum(bool(re.fullmatch(r"mapping\.fc\d{1,2}\.weight", name)) for name in shapes)
    z_dim = _size(shapes, "mapping.fc0.weight", 1) - (w_dim if c_dim else 0) if layers else w_dim
    if z_dim < 1:
        raise refuse("a mapping network from Z", f"one with {z_dim} inputs beside the label")
    config = StyleGAN2Config(
        resolution=sides[-1],
        z_dim=z_dim,
        w_dim=w_dim,
        c_dim=c_dim,
        mapping_layers=max(layers, 1),
        channel_base=channels[sides[-1]] * sides[-1],
        channel_max=max(channels.values()),
        img_channels=_size(shapes, "synthesis.b4.torgb.weight", 0),
        conv_clamp=conv_clamp,
    )
    if wrong := [side for side in sides if config.channels(side) != channels[side]]:
        expected = f"{config.channels(wrong[0])} channels at {wrong[0]} pixels"
        raise refuse(expected, f"{channels[wrong[0]]}", "only channels of min(base / resolution, max) are supported")
    return config


def check_filters(tensors: dict[str, Array]) -> None:
    """Refuses resampling filters other than [1, 3, 3, 1].

    Raises:
        CheckpointError: there is another.
    """
    for name, value in tensors.items():
        if name.endswith("resample_filter") and (value.shape != FIR.shape or np.abs(value - FIR).max() > 1e-6):
            raise refuse("the resampling filter [1, 3, 3, 1]", f"another in {name}", "only this one is supported")


def _size(shapes: dict[str, tuple[int, ...]], name: str, dimension: int) -> int:
    shape = shapes.get(name, ())
    if len(shape) <= dimension:
        raise refuse(f"a tensor {name} of at least {dimension + 1} dimensions", f"{shape}")
    if not 1 <= shape[dimension] <= _MAX_WIDTH:
        raise refuse(f"{name} with 1 to {_MAX_WIDTH} channels", f"{shape[dimension]}")
    return shape[dimension]
