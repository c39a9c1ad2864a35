"""What an encoder learns from, and one update of an encoder beside a generator that keeps its weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everface.engine.errors import NumericalError
from everface.engine.latents.encoder import Encoder
from everface.engine.numerics import compute_dtype
from everface.engine.ops.synthesis.learning import synthesize
from everface.engine.pretrain.config import PretrainConfig
from everface.engine.pretrain.distributed import Team
from everface.engine.pretrain.draws import Draws
from everface.engine.pretrain.faces import Faces
from everface.engine.pretrain.networks import Networks, Optimisers

__all__ = ["LARGEST_ENCODER_GRADIENT", "EncoderUpdater", "code_loss", "photo_loss", "require_finite"]

LARGEST_ENCODER_GRADIENT = 5.0
_CODE_SPREAD = 1.5  # encoded photos may lie this far out, as mean square in deviations of W
_CODE_PULL = 0.02


def photo_loss(
    networks: Networks, config: PretrainConfig, photos: Tensor, codes: Tensor, pictures: Tensor
) -> tuple[Tensor, dict[str, float]]:
    """How far photos are from the pictures of their codes, and a pull on codes that leave W.

    Args:
        networks: of the run.
        config: weights.
        photos, pictures: [n, 3, r, r] in [-1, 1].
        codes: [n, w_dim] that the encoder gave for the photos.
    """
    encoder, perceptual = networks.encoder, networks.perceptual
    with torch.no_grad():
        wanted = perceptual.features(photos)
    distance = perceptual.distance(perceptual.features(pictures), wanted).mean()
    squared = (pictures - photos).square().mean()
    spread = ((codes - encoder.w_avg) / encoder.w_std).square().mean()
    loss = config.reconstruct_weight * (distance + squared) + _CODE_PULL * F.softplus(spread - _CODE_SPREAD)
    told = {"distance": distance, "squared error": squared, "spread": spread}
    return loss, {name: float(value.detach()) for name, value in told.items()}


def code_loss(encoder: Encoder, pictures: Tensor, codes: Tensor) -> Tensor:
    """Mean squared error of the codes of generated pictures, in deviations of W."""
    loss: Tensor = ((encoder(pictures) - codes) / encoder.w_std).square().mean()
    return loss


def require_finite(told: dict[str, float]) -> None:
    """Raises NumericalError where a loss left the finite numbers."""
    if not all(np.isfinite(value) for value in told.values()):
        remedy = "use a smaller learning rate"
        raise NumericalError("training", expected="finite losses", found=str(told), remedy=remedy)


@dataclass(frozen=True, eq=False)
class EncoderUpdater:
    """Trains the encoder alone: on photos, which come back through the generator, and on generated pictures."""

    networks: Networks
    optimisers: Optimisers
    faces: Faces
    config: PretrainConfig
    draws: Draws
    team: Team

    def update(self, number: int) -> dict[str, float]:
        """One step of the encoder.

        Args:
            number: of this update in the run; every other one also takes generated pictures.

        Returns:
            Losses by name; ``"generator"`` is their weighted sum.

        Raises:
            NumericalError: a loss left the finite numbers.
        """
        networks, config, device = self.networks, self.config, self.team.device
        generator, encoder, optimiser = networks.generator, networks.encoder, self.optimisers["encoder"]
        dtype = compute_dtype() if device.type == "cpu" else None
        photos = self.faces.draw(config.reconstruct_batch, self.draws.rng).to(device)
        codes = encoder(photos)
        loss, told = photo_loss(
            networks, config, photos, codes, synthesize(generator.synthesis.weights(), codes, dtype=dtype)
        )
        if number % 2 == 0:
            with torch.no_grad():
                known = generator.mapping(self.draws.z(config.batch, generator.config.z_dim).to(device))
                pictures = synthesize(generator.synthesis.weights(), known, dtype=dtype)
            code = code_loss(encoder, pictures, known)
            loss, told = loss + config.code_weight * code, told | {"code": float(code.detach())}
        told["generator"] = float(loss.detach())
        require_finite(told)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.team.average_gradients(Optimisers.parameters(optimiser))
        nn.utils.clip_grad_norm_(encoder.parameters(), LARGEST_ENCODER_GRADIENT)
        optimiser.step()
        return told
