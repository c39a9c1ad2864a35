"""The networks of a training run, and their optimisers."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from everface.engine.assets import asset_path
from everface.engine.generators.stylegan2 import Generator
from everface.engine.generators.stylegan2.grow import grow
from everface.engine.latents.encoder import Encoder, EncoderConfig
from everface.engine.latents.space import normal_z
from everface.engine.perception.perceptual import PerceptualDistance
from everface.engine.pretrain.config import PretrainConfig
from everface.engine.pretrain.discriminators import Discriminator, FeatureDiscriminator, ImageDiscriminator

__all__ = ["Networks", "Optimisers", "restore", "tensors_of"]

_TRAINED = ("generator", "discriminator", "encoder")
_STAGE_WIDTHS = (64, 128, 192, 256)


@dataclass(frozen=True, eq=False)
class Networks:
    """What is trained, the averages that are kept, and what is frozen: the perceptual network, and the generator's
    part up to a resolution where new blocks are to add to it."""

    generator: Generator
    encoder: Encoder
    discriminator: Discriminator
    mean_generator: Generator
    mean_encoder: Encoder
    perceptual: PerceptualDistance
    frozen: Generator | None

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
        perceptual = PerceptualDistance(load_file(asset_path("perceptual.safetensors"))).to(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            encoder = Encoder(_encoder_config(generator)) if start is None else copy.deepcopy(start)
            shape = generator.config
            discriminator = _discriminator(config, generator, perceptual)
        if start is None:
            with torch.no_grad():
                codes = generator.mapping(normal_z(4000, shape.z_dim, config.seed))
                encoder.w_avg.copy_(codes.mean(dim=0))
                encoder.w_std.copy_(codes.std(dim=0))
        encoder.train().requires_grad_(True)
        trained = [one.to(device) for one in (generator, encoder, discriminator)]
        means = [copy.deepcopy(one).requires_grad_(False) for one in trained[:2]]
        below = config.freeze_below
        frozen = generator.cut(below).to(device) if 0 < below < config.resolution else None
        networks = cls(generator, encoder, trained[2], means[0], means[1], perceptual, frozen)  # type: ignore[arg-type]
        networks._freeze(config.freeze_below, config.encoder_only)
        return networks

    def _freeze(self, below: int, wholly: bool) -> None:
        self.generator.requires_grad_(not wholly)
        if below:
            self.generator.mapping.requires_grad_(False)
            for block in self.generator.synthesis.blocks():
                block.requires_grad_(block.resolution > below and not wholly)

    @torch.no_grad()
    def average(self, shown: int, team_batch: int, half_life: int) -> None:
        """Moves the averages towards the weights; the half-life grows with the run, as in StyleGAN2."""
        kept = 0.5 ** (team_batch / min(half_life, max(half_life / 8, shown / 10)))
        for mean, now in ((self.mean_generator, self.generator), (self.mean_encoder, self.encoder)):
            torch._foreach_lerp_(list(mean.parameters()), [p.detach() for p in now.parameters()], 1 - kept)
            for target, source in zip(mean.buffers(), now.buffers(), strict=True):
                target.copy_(source)


def _discriminator(config: PretrainConfig, generator: Generator, perceptual: PerceptualDistance) -> Discriminator:
    if config.encoder_only:
        return Discriminator()
    if config.discriminator == "features":
        return FeatureDiscriminator(perceptual)
    shape = generator.config
    return ImageDiscriminator(shape.resolution, shape.channel_base, shape.channel_max)


class Optimisers:
    """Adam for each of the three networks (Karras et al. 2019: no first moment in the adversarial ones)."""

    def __init__(self, networks: Networks, config: PretrainConfig) -> None:
        rates = (config.learning_rate, config.discriminator_rate, config.encoder_rate)
        parts: tuple[nn.Module, ...] = (networks.generator, networks.discriminator, networks.encoder)
        self._found = {}
        for name, part, rate, momentum in zip(_TRAINED, parts, rates, (0.0, 0.0, 0.5), strict=True):
            if trained := [p for p in part.parameters() if p.requires_grad]:
                self._found[name] = torch.optim.Adam(trained, lr=rate, betas=(momentum, 0.99), fused=True)

    def __getitem__(self, name: str) -> torch.optim.Adam:
        """That of ``"generator"``, ``"discriminator"`` or ``"encoder"``."""
        return self._found[name]

    def named(self) -> dict[str, torch.optim.Adam]:
        """By the name of what each trains; networks that keep their weights have none."""
        return dict(self._found)

    @staticmethod
    def parameters(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
        """What an optimiser trains, in order."""
        return [p for group in optimiser.param_groups for p in group["params"]]


def _encoder_config(generator: Generator) -> EncoderConfig:
    """An encoder of at most 64 pixels: what W can express is visible there."""
    side = min(64, generator.config.resolution)
    widths = (32, *_STAGE_WIDTHS[6 - side.bit_length() + 1 :])
    return EncoderConfig(side, generator.config.w_dim, widths)


def tensors_of(networks: Networks, optimisers: Optimisers) -> dict[str, Tensor]:
    """All that a run needs to go on, by name."""
    parts: dict[str, nn.Module] = {
        "generator": networks.generator,
        "discriminator": networks.discriminator,
        "encoder": networks.encoder,
        "mean_generator": networks.mean_generator,
        "mean_encoder": networks.mean_encoder,
    }
    found = {f"{part}.{name}": value for part, module in parts.items() for name, value in module.state_dict().items()}
    for name, optimiser in optimisers.named().items():
        for i, parameter in enumerate(Optimisers.parameters(optimiser)):
            for key, value in optimiser.state.get(parameter, {}).items():
                found[f"adam.{name}.{i}.{key}"] = value
    return {name: value.detach().cpu().contiguous().clone() for name, value in found.items()}


def restore(networks: Networks, optimisers: Optimisers, tensors: dict[str, Tensor]) -> None:
    """The reverse of :func:`tensors_of`; raises KeyError or RuntimeError for those of another run."""
    for part in ("generator", "discriminator", "encoder", "mean_generator", "mean_encoder"):
        prefix = f"{part}."
        state = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        getattr(networks, part).load_state_dict(state)
    for name, optimiser in optimisers.named().items():
        for i, parameter in enumerate(Optimisers.parameters(optimiser)):
            prefix = f"adam.{name}.{i}."
            state = {k.removeprefix(prefix): v.clone() for k, v in tensors.items() if k.startswith(prefix)}
            if state:
                moments = {k: state[k].to(parameter.device) for k in ("exp_avg", "exp_avg_sq")}
                optimiser.state[parameter] = {"step": state["step"], **moments}
