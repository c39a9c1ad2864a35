"""The recipe for a base: generator and encoder as an autoencoder of photos; or the encoder alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from everface.engine.generators.stylegan2.synthesis import SynthesisNetwork
from everface.engine.numerics import compute_dtype, narrow
from everface.engine.perception.perceptual import TAPS
from everface.engine.pretrain.config import PretrainConfig
from everface.engine.pretrain.critic import SampleCritic, seen
from everface.engine.pretrain.distributed import Team
from everface.engine.pretrain.evaluate import sample_grid
from everface.engine.pretrain.faces import TrainingFaces
from everface.engine.pretrain.latent import CodeBank, sliced_distance
from everface.engine.pretrain.networks import CRITIC, Networks
from everface.engine.pretrain.state import parameters_of
from everface.engine.pretrain.task import averaged_share, require_finite

_BANK, _RANDOM_CODES, _DIRECTIONS = 2048, 1024, 256
_MEAN_STEP = 0.01
_SMALLEST_WITH_DETAIL = 128
_LARGEST_GRADIENT = 5.0  # of the encoder: now and then a batch has one a hundred times as large as the others'
_SPREAD, _PULL = 1.5, 0.02  # a soft wall: encoded photos may lie this far out, as mean square in deviations of W


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


@dataclass(eq=False)
class JointTask:
    """Photos pass through encoder and generator, and must come back; random codes must lie where the photos' lie.

    With ``encoder_only`` the generator keeps its weights; then every other update also takes pictures of random codes,
    which the encoder must find.
    """

    networks: Networks
    faces: TrainingFaces
    config: PretrainConfig
    team: Team
    rng: np.random.Generator = field(init=False)
    bank: CodeBank = field(init=False)
    critic: SampleCritic = field(init=False)

    def begin(self, updates: int) -> None:
        """Seeds the draws; the bank of codes fills again."""
        self.rng = np.random.default_rng([self.config.seed, self.team.rank, updates])
        self.bank = CodeBank(_BANK, self.networks.generator.config.w_dim, self.team.device)
        networks, share = self.networks, self.config.sample_share
        self.critic = SampleCritic(networks.discriminator, networks.optimisers[CRITIC], self.team, share)

    def average(self, shown: int) -> None:
        """Moves the averages."""
        self.networks.average(averaged_share(shown, self.config.batch * self.team.size, self.config.ema_images))

    def tensors(self) -> dict[str, Tensor]:
        """The state."""
        return self.networks.trained.tensors()

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """The reverse."""
        self.networks.trained.restore(tensors)

    def look(self) -> NDArray[np.uint8]:
        """Samples, held-out photos, and their reconstructions."""
        return sample_grid(self.networks.mean_generator, self.networks.mean_encoder, self.faces.first)

    def update(self, number: int) -> dict[str, float]:
        """Trains on one batch."""
        encoder, config = self.networks.encoder, self.config
        photos = self.faces.draw(config.batch, self.rng).to(self.team.device)
        codes = encoder(photos)
        critic = None if config.encoder_only or not config.samples else self.critic
        images, lower = self._pictures(codes if critic is None else torch.cat([codes, self._samples()]))
        wanted, found = self._activations(*(seen(photos, images, self.rng) if critic else (photos, images)))
        losses = self._likeness(wanted, [x[: len(photos)] for x in found])
        losses["squared error"] = (images[: len(photos)] - photos).square().mean()
        if critic is not None:
            losses["critic"] = critic.learn(wanted, samples := [x[len(photos) :] for x in found])
            if number * config.batch * self.team.size >= config.critic_from:
                likeness = losses["distance"] + losses["squared error"]
                losses["samples"] = critic.objection(number, samples, likeness, images)
        losses |= self._identity(photos, images, number)
        if config.encoder_only:
            losses |= self._own_codes() if number % 2 == 0 else {}
        else:
            if config.resolution >= _SMALLEST_WITH_DETAIL and config.detail_weight:
                losses["detail"] = (F.avg_pool2d(images, 2) - lower).square().mean()
            if config.latent_weight and self.bank.full:
                losses["latent"] = self._code_distance()
            self.bank.add(codes)
        loss = _PULL * F.softplus(((codes - encoder.w_avg) / encoder.w_std).square().mean() - _SPREAD)
        for name, value in losses.items():
            if name != "critic":
                loss = loss + getattr(config, f"{name}_weight", 1.0) * value
        values = {name: float(value.detach()) for name, value in (losses | {"loss": loss}).items()}
        require_finite(values)
        self._step(loss)
        return values

    def _samples(self) -> Tensor:
        """Codes that the mapping draws; it learns from where photos lie alone."""
        generator = self.networks.generator
        with torch.no_grad():
            codes: Tensor = generator.mapping(self._normal(self.config.samples, generator.config.z_dim))
        return codes

    def _normal(self, n: int, dim: int) -> Tensor:
        return torch.from_numpy(self.rng.standard_normal((n, dim), dtype=np.float32)).to(self.team.device)

    def _pictures(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        dtype = compute_dtype() if self.team.device.type == "cpu" else torch.float32
        return last_two(self.networks.generator.synthesis, codes, dtype)

    def _own_codes(self) -> dict[str, Tensor]:
        generator, encoder = self.networks.generator, self.networks.encoder
        with torch.no_grad():
            known = generator.mapping(self._normal(self.config.batch, generator.config.z_dim))
            pictures = self._pictures(known)[0]
        return {"code": ((encoder(pictures) - known) / encoder.w_std).square().mean()}

    def _activations(self, photos: Tensor, images: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Of ``TAPS``, on photos and on what was made."""
        perceptual = self.networks.perceptual
        with narrow(self.team.device):
            with torch.no_grad():
                wanted = perceptual.activations(photos, TAPS)
            return wanted, perceptual.activations(images, TAPS)

    def _likeness(self, wanted: Sequence[Tensor], found: Sequence[Tensor]) -> dict[str, Tensor]:
        """MobileNetV2 distance."""
        a, b = (tuple(_unit(x) for x in one) for one in (found, wanted))
        return {"distance": self.networks.perceptual.distance(a, b).mean()}

    def _identity(self, photos: Tensor, images: Tensor, number: int) -> dict[str, Tensor]:
        """The distance of identities of a part of the batch."""
        part = min(self.config.identity_batch, len(photos))
        if not part or not self.config.identity_weight:
            return {}
        at = number * part % (len(photos) - part + 1)
        with narrow(self.team.device):
            with torch.no_grad():
                known = self.networks.identity(photos[at : at + part])
            seen_as = self.networks.identity(images[at : at + part])
        return {"identity": (seen_as.float() - known.float()).square().sum(dim=1).mean()}

    def _code_distance(self) -> Tensor:
        generator, encoder, device = self.networks.generator, self.networks.encoder, self.team.device
        codes = generator.mapping(self._normal(_RANDOM_CODES, generator.config.z_dim))
        with torch.no_grad():
            generator.mapping.w_avg.lerp_(codes.mean(dim=0), _MEAN_STEP)
        chosen = torch.from_numpy(self.rng.choice(_BANK, _RANDOM_CODES, replace=False)).to(device)
        directions = F.normalize(self._normal(codes.shape[1], _DIRECTIONS), dim=0)
        mean, spread = encoder.w_avg, encoder.w_std
        return sliced_distance((codes - mean) / spread, (self.bank.codes[chosen] - mean) / spread, directions)

    def _step(self, loss: Tensor) -> None:
        optimisers = [one for name, one in self.networks.optimisers.items() if name != CRITIC]
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for optimiser in optimisers:
            self.team.average_gradients(parameters_of(optimiser))
        nn.utils.clip_grad_norm_(self.networks.encoder.parameters(), _LARGEST_GRADIENT)
        for optimiser in optimisers:
            optimiser.step()


def _unit(x: Tensor) -> Tensor:
    x = x.float()
    return x * (x.square().sum(1, keepdim=True) + 1e-8).rsqrt()
