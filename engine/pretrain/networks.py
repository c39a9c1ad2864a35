"""The networks of a 2D training run, and their optimisers."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.generators.stylegan2.grow import grow
from everface.engine.latents.encoder import Encoder, EncoderConfig
from everface.engine.latents.space import normal_z
from everface.engine.perception.identity import IdentityEmbedder
from everface.engine.perception.perceptual import PerceptualDistance
from everface.engine.pretrain.config import PretrainConfig
from everface.engine.pretrain.discriminator import FeatureDiscriminator
from everface.engine.pretrain.state import Trained, move_average

_STAGE_WIDTHS = (64, 128, 192, 256)
_NEW_CODES = 4000
# Rates in proportion to the synthesis network's; the mapping's own multiplier is 0.01.
_RATES = {"encoder": 0.5, "synthesis": 1.0, "mapping": 10.0}
CRITIC = "critic"


@dataclass(frozen=True, eq=False)
class Networks:
    """What is trained, the averages that are kept, and what is frozen: the perceptual and the identity network."""

    generator: Generator
    encoder: Encoder
    mean_generator: Generator
    mean_encoder: Encoder
    perceptual: PerceptualDistance
    identity: IdentityEmbedder
    discriminator: FeatureDiscriminator
    optimisers: dict[str, torch.optim.Adam]

    @classmethod
    def build(cls, base: Generator, start: Encoder | None, config: PretrainConfig, device: torch.device) -> Networks:
        """Grows (or cuts) the base to the run's resolution and starts the other networks beside it.

        Args:
            base: the generator to begin with, not changed.
            start: the encoder to begin with, None for a new one.
            config: of the run.
            device: where to train.
        """
        smaller = config.resolution < base.config.resolution
        generator = base.cut(config.resolution) if smaller else grow(base, config.resolution, config.seed)
        perceptual, identity = PerceptualDistance.load().to(device), IdentityEmbedder.load().to(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            encoder = _new_encoder(generator, config.seed) if start is None else copy.deepcopy(start)
            discriminator = FeatureDiscriminator(perceptual).to(device)
        generator.train().requires_grad_(not config.encoder_only).to(device)
        encoder.train().requires_grad_(True).to(device)
        means = copy.deepcopy(generator).requires_grad_(False), copy.deepcopy(encoder).requires_grad_(False)
        optimisers = _optimisers(generator, encoder, config)
        optimisers[CRITIC] = torch.optim.Adam(
            discriminator.heads.parameters(), config.learning_rate, (0.0, 0.99), fused=True
        )
        return cls(generator, encoder, *means, perceptual, identity, discriminator, optimisers)

    @property
    def trained(self) -> Trained:
        """All that a state holds."""
        parts: dict[str, nn.Module] = {
            "generator": self.generator,
            "encoder": self.encoder,
            "mean_generator": self.mean_generator,
            "mean_encoder": self.mean_encoder,
            "critic": self.discriminator,
        }
        return Trained(parts, self.optimisers)

    def average(self, kept: float) -> None:
        """Moves both averages towards the weights."""
        move_average(self.mean_generator, self.generator, kept)
        move_average(self.mean_encoder, self.encoder, kept)


def _optimisers(generator: Generator, encoder: Encoder, config: PretrainConfig) -> dict[str, torch.optim.Adam]:
    """Adam for each network."""
    trained: dict[str, nn.Module] = {"encoder": encoder}
    if not config.encoder_only:
        trained |= {"synthesis": generator.synthesis, "mapping": generator.mapping}
    return {
        name: torch.optim.Adam(network.parameters(), config.learning_rate * _RATES[name], (0.8, 0.99), fused=True)
        for name, network in trained.items()
    }


def _new_encoder(generator: Generator, seed: int) -> Encoder:
    """An encoder of at most 64 pixels (what W can express is visible there) that gives the mean face."""
    side = min(64, generator.config.resolution)
    widths = (32, *_STAGE_WIDTHS[6 - side.bit_length() + 1 :])
    encoder = Encoder(EncoderConfig(side, generator.config.w_dim, widths))
    with torch.no_grad():
        codes = generator.mapping(normal_z(_NEW_CODES, generator.config.z_dim, seed))
        encoder.w_avg.copy_(codes.mean(dim=0))
        encoder.w_std.copy_(codes.std(dim=0))
    return encoder
