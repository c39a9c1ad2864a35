"""The recipe for a base: generator and encoder as an autoencoder of photos, with a discriminator beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everface.engine.generators.stylegan2 import SynthesisNetwork
from everface.engine.numerics import compute_dtype, narrow
from everface.engine.perception.perceptual import TAPS
from everface.engine.pretrain.discriminators import JUDGED_LAYERS
from everface.engine.pretrain.latent import CodeBank, sliced_distance
from everface.engine.pretrain.reconstruction import (
    clip_encoder,
    code_pull,
    distance_of,
    require_finite,
)
from everface.engine.pretrain.state import parameters_of
from everface.engine.pretrain.task import PhotoTask

_JUDGED = [TAPS.index(layer) for layer in JUDGED_LAYERS]
_BANK, _RANDOM_CODES, _DIRECTIONS = 2048, 1024, 256
_MEAN_STEP = 0.01
_SMALLEST_WITH_DETAIL = 128


def last_two(network: SynthesisNetwork, codes: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The picture of codes [n, d] and what the blocks below the last had drawn, [n, 3, r, r] and [n, 3, r/2, r/2].

    Layer by layer in PyTorch and not by the native call, which gives only the last picture.
    """
    x = network.blocks()[0].const[None].to(dtype).expand(len(codes), -1, -1, -1)
    image: Tensor | None = None
    lower = codes.new_zeros(0)
    for block in network.blocks():
        lower = lower if image is None else image
        x, image = block(x, image, codes[:, None].expand(-1, block.num_convs + 1, -1))
    return x if image is None else image, lower


@dataclass(frozen=True, eq=False)
class _Views:
    """What of one update's pictures is compared: reconstructions first, then samples."""

    photos: Tensor
    codes: Tensor
    images: Tensor
    lower: Tensor
    wanted: tuple[Tensor, ...]
    found: tuple[Tensor, ...]

    @property
    def count(self) -> int:
        return len(self.photos)

    @property
    def made(self) -> Tensor:
        return self.images[: self.count]


@dataclass(eq=False)
class JointTask(PhotoTask):
    """Photos pass through encoder and generator, and must come back; their pictures and those of random codes must
    please a discriminator of frozen features (hinge loss); random codes must lie where the photos' codes lie.
    """

    bank: CodeBank = field(init=False)
    shown: int = 0

    def begin(self, updates: int, shown: int) -> None:
        """Seeds the draws; the bank of codes fills again."""
        super().begin(updates, shown)
        self.bank = CodeBank(_BANK, self.networks.generator.config.w_dim, self.team.device)
        self.shown = shown

    def update(self, number: int) -> dict[str, float]:
        """Trains the discriminator, then the generator and the encoder, on one batch."""
        losses: dict[str, Tensor] = {}
        views = self._views()
        loss = self._likeness(views, number, losses) + code_pull(self.networks.encoder, views.codes)
        if self.config.adversarial_weight:
            loss = loss + self._adversarial(views, losses)
        if self.config.latent_weight and self.bank.full:
            losses["codes"] = self._code_distance()
            loss = loss + self.config.latent_weight * losses["codes"]
        self.bank.add(views.codes)
        values = {name: float(value.detach()) for name, value in (losses | {"loss": loss}).items()}
        require_finite(values)
        self._step(loss, ("synthesis", "mapping", "encoder"))
        return values

    def average(self, shown: int) -> None:
        """Moves the averages."""
        super().average(shown)
        self.shown = shown

    def _views(self) -> _Views:
        networks, config, device = self.networks, self.config, self.team.device
        photos = self.faces.draw(config.batch, self.rng).to(device)
        codes = networks.encoder(photos)
        every = codes
        if config.samples and config.adversarial_weight:
            z = self.normal(config.samples, networks.generator.config.z_dim)
            every = torch.cat([codes, networks.generator.mapping(z)])
        dtype = compute_dtype() if device.type == "cpu" else torch.float32
        images, lower = last_two(networks.generator.synthesis, every, dtype)
        with narrow(device):
            with torch.no_grad():
                wanted = networks.perceptual.activations(photos, TAPS)
            found = networks.perceptual.activations(images, TAPS)
        return _Views(photos, codes, images, lower, wanted, found)

    def _likeness(self, views: _Views, number: int, losses: dict[str, Tensor]) -> Tensor:
        """Reconstruction loss, identity of a part of the batch, and agreement of the two finest pictures."""
        config, n = self.config, views.count
        found = tuple(x[:n] for x in views.found)
        losses["distance"] = distance_of(self.networks.perceptual, found, views.wanted).mean()
        losses["squared error"] = (views.made - views.photos).square().mean()
        loss = losses["distance"] + losses["squared error"]
        if config.resolution >= _SMALLEST_WITH_DETAIL and config.detail_weight:
            losses["detail"] = (F.avg_pool2d(views.images, 2) - views.lower).square().mean()
            loss = loss + config.detail_weight * losses["detail"]
        if (part := min(config.identity_batch, n)) and config.identity_weight:
            at = number * part % (n - part + 1)
            with narrow(self.team.device):
                with torch.no_grad():
                    known = self.networks.identity(views.photos[at : at + part])
                seen = self.networks.identity(views.made[at : at + part])
            losses["identity"] = (seen.float() - known.float()).square().sum(dim=1).mean()
            loss = loss + config.identity_weight * losses["identity"]
        return loss

    def _adversarial(self, views: _Views, losses: dict[str, Tensor]) -> Tensor:
        judge, n = self.networks.discriminator, views.count
        real, made = (judge.views_of(tuple(x[i] for i in _JUDGED)) for x in (views.wanted, views.found))
        _train(judge.heads.parameters(), True)
        reals, fakes = judge.judge(real), judge.judge([view.detach() for view in made])
        loss = _mean(F.relu(1 - x).mean() for x in reals) + _mean(F.relu(1 + x).mean() for x in fakes)
        losses["discriminator"] = loss
        losses["real right"] = _mean((x > 0).float().mean() for x in reals)
        losses["made right"] = _mean((x < 0).float().mean() for x in fakes)
        # Four heads, each with its own optimum: the sum and not the mean, whatever Adam makes of it.
        self._step(len(reals) * loss, ("discriminator",))
        _train(judge.heads.parameters(), False)
        logits = judge.judge(made)
        fooled = _mean(x[:n].mean() for x in logits)
        if len(views.images) > n:
            fooled = fooled + _mean(x[n:].mean() for x in logits)
        warmth = min(1.0, self.shown / self.config.warm_up) if self.config.warm_up else 1.0
        return -self.config.adversarial_weight * warmth * fooled

    def _code_distance(self) -> Tensor:
        generator, encoder, device = self.networks.generator, self.networks.encoder, self.team.device
        codes = generator.mapping(self.normal(_RANDOM_CODES, generator.config.z_dim))
        with torch.no_grad():
            generator.mapping.w_avg.lerp_(codes.mean(dim=0), _MEAN_STEP)
        chosen = torch.from_numpy(self.rng.choice(_BANK, _RANDOM_CODES, replace=False)).to(device)
        directions = F.normalize(self.normal(codes.shape[1], _DIRECTIONS), dim=0)
        mean, spread = encoder.w_avg, encoder.w_std
        return sliced_distance((codes - mean) / spread, (self.bank.codes[chosen] - mean) / spread, directions)

    def _step(self, loss: Tensor, names: tuple[str, ...]) -> None:
        optimisers = [self.networks.optimisers[name] for name in names]
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for optimiser in optimisers:
            self.team.average_gradients(parameters_of(optimiser))
        if "encoder" in names:
            clip_encoder(self.networks.encoder)
        for optimiser in optimisers:
            optimiser.step()


def _train(parameters: Iterable[nn.Parameter], wanted: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(wanted)


def _mean(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).mean()
