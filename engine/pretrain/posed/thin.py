"""A StyleGAN2 with fewer channels that draws nearly the same: the ones that matter least are left out."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from everface.engine.errors import UsageError
from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.generators.stylegan2.layers import ModulatedConv
from everface.engine.latents.space import normal_z

_SAMPLES = 32


@torch.no_grad()
def thin(generator: Generator, channel_max: int, seed: int = 0) -> Generator:
    """Keeps, of each layer, the ``channel_max`` channels with the most influence on the next layers.

    Influence is the channel's mean square on random pictures, times the mean square of the styles and the squared
    weights that read it.

    Args:
        generator: unchanged.
        channel_max: of the new generator.
        seed: of the random pictures.

    Raises:
        UsageError: more channels than there are.
    """
    shape = generator.config
    if not 1 <= channel_max <= shape.channel_max:
        raise UsageError("channel_max", expected=f"1 to {shape.channel_max}", found=str(channel_max))
    config = dataclasses.replace(shape, channel_max=channel_max)
    state = {name: value.clone() for name, value in generator.state_dict().items()}
    ws = generator.mapping(normal_z(_SAMPLES, shape.z_dim, seed))
    x = generator.synthesis.blocks()[0].const[None].expand(_SAMPLES, -1, -1, -1)
    layers = [
        (f"synthesis.b{block.resolution}.{name}", block.get_submodule(name))
        for block in generator.synthesis.blocks()
        for name in ("conv0", "conv1")[2 - block.num_convs :]
    ]
    producer = ""
    for name, layer in layers:
        readers = [(name, layer)]
        if producer.endswith("conv1"):
            rgb = producer.replace("conv1", "torgb")
            readers.append((rgb, generator.get_submodule(rgb)))
        wanted = config.channels(int(producer.split(".")[1][1:])) if producer else config.channels(4)
        if wanted < x.shape[1]:
            _slice(state, producer, readers, _kept(x, [one for _, one in readers], ws, wanted))
        x, producer = layer(x, ws), name
    smaller = Generator(config)
    smaller.load_state_dict(state)
    return smaller.eval().requires_grad_(False)


def _kept(x: Tensor, readers: list[torch.nn.Module], ws: Tensor, wanted: int) -> Tensor:
    influence = torch.zeros(x.shape[1])
    for reader in readers:
        if isinstance(reader, ModulatedConv):
            read = reader.affine(ws).square().mean(dim=0) * reader.weight.square().sum(dim=(0, 2, 3))
            share = x.square().mean(dim=(0, 2, 3)) * read
            influence += share / share.sum()
    return influence.topk(wanted).indices.sort().values


def _slice(state: dict[str, Tensor], producer: str, readers: list[tuple[str, torch.nn.Module]], kept: Tensor) -> None:
    if producer:
        for part in ("weight", "bias"):
            state[f"{producer}.{part}"] = state[f"{producer}.{part}"][kept]
    else:
        state["synthesis.b4.const"] = state["synthesis.b4.const"][kept]
    for name, _ in readers:
        before = state[f"{name}.weight"].shape[1]
        state[f"{name}.weight"] = state[f"{name}.weight"][:, kept]
        if name.endswith("torgb"):  # its gain is 1 / sqrt(channels)
            state[f"{name}.weight"] *= math.sqrt(len(kept) / before)
        for part in ("weight", "bias"):
            state[f"{name}.affine.{part}"] = state[f"{name}.affine.{part}"][kept]
