"""One update of all networks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everface.engine.numerics import compute_dtype
from everface.engine.ops.synthesis.learning import synthesize
from everface.engine.pretrain.augment import AUGMENTATIONS
from everface.engine.pretrain.config import PretrainConfig
from everface.engine.pretrain.distributed import Team
from everface.engine.pretrain.draws import Draws
from everface.engine.pretrain.encoder_step import LARGEST_ENCODER_GRADIENT, code_loss, photo_loss, require_finite
from everface.engine.pretrain.faces import Faces
from everface.engine.pretrain.networks import Networks, Optimisers

__all__ = ["Updater"]


@dataclass(frozen=True, eq=False)
class _Pictures:
    """Of one update: generated ones (first from Z, then from photos), the frozen blocks' part of them, their origin."""

    real: Tensor
    generated: Tensor
    frozen: Tensor | None
    codes: Tensor
    mixed: bool
    encoded: Tensor


@dataclass(frozen=True, eq=False)
class Updater:
    """Trains the networks batch by batch.

    Non-saturating logistic loss (Goodfellow et al. 2014) on augmented pictures; where an encoder is trained, its
    photos pass through the generator too and are judged like the others.
    """

    networks: Networks
    optimisers: Optimisers
    faces: Faces
    config: PretrainConfig
    draws: Draws
    team: Team

    def update(self, number: int) -> dict[str, float]:
        """Trains the discriminator, then the generator and the encoder, on one batch.

        Args:
            number: of this update in the run; now and then something more is done.

        Returns:
            Losses and shares of right judgements, by name.

        Raises:
            NumericalError: a loss left the finite numbers.
        """
        pictures = self._make()
        views = self.networks.discriminator.views(self._augmented(pictures.generated))
        told = self._judge(pictures.real, views, number) | self._improve(pictures, views, number)
        require_finite(told)
        return told

    def _make(self) -> _Pictures:
        generator, config, draws, device = self.networks.generator, self.config, self.draws, self.team.device
        shape, count = generator.config, config.batch
        codes = generator.mapping(draws.z(count, shape.z_dim).to(device))
        if codes.requires_grad:
            with torch.no_grad():
                generator.mapping.w_avg.lerp_(codes.mean(dim=0), 0.002)
        styles = codes[:, None].expand(-1, shape.num_ws, -1)
        mixed = bool(draws.rng.random() < config.mixing)
        if mixed:
            place = int(draws.rng.integers(1, shape.num_ws))
            other = generator.mapping(draws.z(count, shape.z_dim).to(device))
            styles = torch.cat([styles[:, :place], other[:, None].expand(-1, shape.num_ws - place, -1)], dim=1)
        real = self.faces.draw(count + config.reconstruct_batch, draws.rng).to(device)
        photos = real[: config.reconstruct_batch]
        encoded = self.networks.encoder(photos) if len(photos) else codes[:0]
        styles = torch.cat([styles, encoded[:, None].expand(-1, shape.num_ws, -1)])
        dtype = compute_dtype() if device.type == "cpu" else None
        frozen = None
        if self.networks.frozen is not None and config.detail_weight:
            lower = self.networks.frozen
            with torch.no_grad():
                frozen = synthesize(lower.synthesis.weights(), styles[:, : lower.config.num_ws], dtype=dtype)
        return _Pictures(
            real, synthesize(generator.synthesis.weights(), styles, dtype=dtype), frozen, codes, mixed, encoded
        )

    def _judge(self, real: Tensor, views: list[Tensor], number: int) -> dict[str, float]:
        discriminator, optimiser, config = self.networks.discriminator, self.optimisers["discriminator"], self.config
        trained = Optimisers.parameters(optimiser)
        _train(trained, True)
        penalise = config.discriminator == "image" and number % config.r1_every == 0
        real = self._augmented(real).requires_grad_(penalise)
        reals = discriminator(real)
        generated = discriminator.judge([view.detach() for view in views])
        loss = _total(F.softplus(-x).mean() for x in reals) + _total(F.softplus(x).mean() for x in generated)
        told = {"discriminator": float(loss.detach()) / len(reals)}
        told["real right"] = _share(x > 0 for x in reals)
        told["generated right"] = _share(x < 0 for x in generated)
        if penalise:
            # R1 (Mescheder et al. 2018), taken lazily and so multiplied by its interval (Karras et al. 2020).
            (slope,) = torch.autograd.grad(_total(x.sum() for x in reals), [real], create_graph=True)
            penalty = slope.square().sum(dim=(1, 2, 3)).mean()
            loss = loss + penalty * (config.r1_gamma / 2 * config.r1_every)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.team.average_gradients(trained)
        optimiser.step()
        _train(trained, False)
        return told

    def _improve(self, pictures: _Pictures, views: list[Tensor], number: int) -> dict[str, float]:
        logits = self.networks.discriminator.judge(views)
        loss = _total(F.softplus(-x).mean() for x in logits)
        told = {"generator": float(loss.detach()) / len(logits)}
        if pictures.frozen is not None:
            averaged = F.adaptive_avg_pool2d(pictures.generated, pictures.frozen.shape[-1])
            change = F.mse_loss(averaged, pictures.frozen)
            loss, told = loss + self.config.detail_weight * change, told | {"change": float(change.detach())}
        optimisers = [self.optimisers["generator"]]
        if self.config.reconstruct_batch:
            more, also = self._reconstruction(pictures, number)
            loss, told = loss + more, told | also
            optimisers.append(self.optimisers["encoder"])
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for optimiser in optimisers:
            self.team.average_gradients(Optimisers.parameters(optimiser))
        nn.utils.clip_grad_norm_(self.networks.encoder.parameters(), LARGEST_ENCODER_GRADIENT)
        for optimiser in optimisers:
            optimiser.step()
        return told

    def _reconstruction(self, pictures: _Pictures, number: int) -> tuple[Tensor, dict[str, float]]:
        """Photos come back through encoder and generator; generated pictures give back their codes."""
        networks, config = self.networks, self.config
        photos, found = pictures.real[: config.reconstruct_batch], pictures.generated[config.batch :]
        loss, told = photo_loss(networks, config, photos, pictures.encoded, found)
        if not pictures.mixed and number % 2 == 0:
            code = code_loss(networks.encoder, pictures.generated[: config.batch].detach(), pictures.codes.detach())
            loss, told = loss + config.code_weight * code, told | {"code": float(code.detach())}
        return loss, told

    def _augmented(self, images: Tensor) -> Tensor:
        change = AUGMENTATIONS[self.config.augment]
        return images if change is None else change(images, self.draws.torch)


def _share(right: Iterable[Tensor]) -> float:
    return float(np.mean([float(one.float().mean()) for one in right]))


def _train(parameters: Iterable[nn.Parameter], wanted: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(wanted)


def _total(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum()
