"""The networks of a 3D training run, and their optimisers."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from everface.engine.generators.eg3d import TriPlaneGenerator
from everface.engine.perception.perceptual import PerceptualDistance
from everface.engine.pretrain.discriminators import FeatureDiscriminator
from everface.engine.pretrain3d.config import Pretrain3DConfig

__all__ = ["Networks3D", "restore_3d", "tensors_of_3d"]

_PARTS = ("generator", "discriminator", "mean_generator")


@dataclass(frozen=True, eq=False)
class Networks3D:
    """What is trained (all but the mapping, so that W stays the 2D base's), the averages, and the optimisers."""

    generator: TriPlaneGenerator
    discriminator: FeatureDiscriminator
    mean_generator: TriPlaneGenerator
    perceptual: PerceptualDistance
    optimisers: dict[str, torch.optim.Adam]

    @classmethod
    def build(cls, generator: TriPlaneGenerator, config: Pretrain3DConfig) -> Networks3D:
        """Networks beside a generator to begin with."""
        perceptual = PerceptualDistance.load()
        perceptual.side = 64  # a rendering of 32 pixels is enlarged to this, not to 128: a third of the time
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            discriminator = FeatureDiscriminator(perceptual)
        for part in (generator.backbone.synthesis, generator.decoder):
            part.requires_grad_(True)
        trained: dict[str, nn.Module] = {"generator": generator, "discriminator": discriminator}
        rates = (config.learning_rate, config.discriminator_rate)
        optimisers = {
            name: torch.optim.Adam([p for p in part.parameters() if p.requires_grad], lr=rate, betas=(momentum, 0.99))
            for (name, part), rate, momentum in zip(trained.items(), rates, (0.5, 0.0), strict=True)
        }
        mean = copy.deepcopy(generator).requires_grad_(False)
        return cls(generator, discriminator, mean, perceptual, optimisers)

    @torch.no_grad()
    def average(self, shown: int, batch: int, half_life: int) -> None:
        """Moves the average towards the weights; the half-life grows with the run, as in StyleGAN2."""
        kept = 0.5 ** (batch / min(half_life, max(half_life / 8, shown / 10)))
        now = [p.detach() for p in self.generator.parameters()]
        torch._foreach_lerp_(list(self.mean_generator.parameters()), now, 1 - kept)


def tensors_of_3d(networks: Networks3D) -> dict[str, Tensor]:
    """All that a run needs to go on, by name."""
    found = {f"{part}.{name}": value for part in _PARTS for name, value in getattr(networks, part).state_dict().items()}
    for name, optimiser in networks.optimisers.items():
        for i, parameter in enumerate(_trained(optimiser)):
            for key, value in optimiser.state.get(parameter, {}).items():
                found[f"adam.{name}.{i}.{key}"] = value
    return {name: value.detach().contiguous().clone() for name, value in found.items()}


def restore_3d(networks: Networks3D, tensors: dict[str, Tensor]) -> None:
    """The reverse of :func:`tensors_of_3d`; raises KeyError or RuntimeError for those of another run."""
    for part in _PARTS:
        prefix = f"{part}."
        state = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        getattr(networks, part).load_state_dict(state)
    for name, optimiser in networks.optimisers.items():
        for i, parameter in enumerate(_trained(optimiser)):
            prefix = f"adam.{name}.{i}."
            state = {k.removeprefix(prefix): v.clone() for k, v in tensors.items() if k.startswith(prefix)}
            if state:
                optimiser.state[parameter] = state


def _trained(optimiser: torch.optim.Adam) -> list[nn.Parameter]:
    return [p for group in optimiser.param_groups for p in group["params"]]
