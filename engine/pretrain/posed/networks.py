"""The networks of a 3D training run, and their optimisers."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from everface.engine.generators.eg3d.generator import TriPlaneGenerator
from everface.engine.perception.perceptual import PerceptualDistance
from everface.engine.pretrain.discriminator import FeatureDiscriminator
from everface.engine.pretrain.posed.config import Pretrain3DConfig
from everface.engine.pretrain.state import Trained


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

    @property
    def trained(self) -> Trained:
        """All that a state holds."""
        parts: dict[str, nn.Module] = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "mean_generator": self.mean_generator,
        }
        return Trained(parts, self.optimisers)
