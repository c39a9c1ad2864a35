"""What a photo's reconstruction is judged by in training, and the encoder trained alone."""

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
from everface.engine.perception.perceptual import PerceptualDistance
from everface.engine.pretrain.state import parameters_of
from everface.engine.pretrain.task import PhotoTask

_LARGEST_GRADIENT = 5.0
_SPREAD = 1.5  # encoded photos may lie this far out, as mean square in deviations of W
_PULL = 0.02


def distance_of(perceptual: PerceptualDistance, a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> Tensor:
    """MobileNetV2 distance [n] from activations of the perceptual network's taps."""
    return perceptual.distance(tuple(unit(x) for x in a), tuple(unit(x) for x in b))


def unit(x: Tensor) -> Tensor:
    """Feature vectors [n, c, h, w] of length 1, in float32."""
    x = x.float()
    return x * (x.square().sum(1, keepdim=True) + 1e-8).rsqrt()


def code_pull(encoder: Encoder, codes: Tensor) -> Tensor:
    """A soft wall for codes [n, d] that leave W."""
    spread = ((codes - encoder.w_avg) / encoder.w_std).square().mean()
    return _PULL * F.softplus(spread - _SPREAD)


def clip_encoder(encoder: Encoder) -> None:
    """Bounds the encoder's gradient: now and then a batch has one a hundred times as large as the others'."""
    nn.utils.clip_grad_norm_(encoder.parameters(), _LARGEST_GRADIENT)


def require_finite(losses: dict[str, float]) -> None:
    """Raises NumericalError where a loss left the finite numbers."""
    if not all(np.isfinite(value) for value in losses.values()):
        remedy = "use a smaller learning rate"
        raise NumericalError("training", expected="finite losses", found=str(losses), remedy=remedy)


@dataclass(eq=False)
class EncoderTask(PhotoTask):
    """Trains the encoder alone, for a generator that keeps its weights: on photos, which come back through the
    generator, and on generated pictures, whose codes are known.
    """

    def update(self, number: int) -> dict[str, float]:
        """One step of the encoder; every other one also takes generated pictures."""
        networks, config, device = self.networks, self.config, self.team.device
        generator, encoder, optimiser = networks.generator, networks.encoder, networks.optimisers["encoder"]
        dtype = compute_dtype() if device.type == "cpu" else None
        photos = self.faces.draw(config.batch, self.rng).to(device)
        codes = encoder(photos)
        made, perceptual = synthesize(generator.synthesis.weights(), codes, dtype=dtype), networks.perceptual
        with torch.no_grad():
            wanted = perceptual.features(photos)
        distance = perceptual.distance(perceptual.features(made), wanted).mean()
        squared = (made - photos).square().mean()
        losses = {"distance": float(distance.detach()), "squared error": float(squared.detach())}
        loss = distance + squared + code_pull(encoder, codes)
        if number % 2 == 0:
            with torch.no_grad():
                known = generator.mapping(self.normal(config.batch, generator.config.z_dim))
                pictures = synthesize(generator.synthesis.weights(), known, dtype=dtype)
            code = ((encoder(pictures) - known) / encoder.w_std).square().mean()
            loss, losses = loss + config.code_weight * code, losses | {"code": float(code.detach())}
        losses["loss"] = float(loss.detach())
        require_finite(losses)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.team.average_gradients(parameters_of(optimiser))
        clip_encoder(encoder)
        optimiser.step()
        return losses
