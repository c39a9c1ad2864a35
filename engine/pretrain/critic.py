"""What keeps the pictures of random codes sharp while photos and their reconstructions are all that is compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from everface.engine.perception.perceptual import TAPS
from everface.engine.pretrain.discriminator import LAYERS, FeatureDiscriminator
from everface.engine.pretrain.distributed import Team
from everface.engine.pretrain.state import parameters_of

_JUDGED = [TAPS.index(layer) for layer in LAYERS]
_SIDES, _LEAN, _MEMORY = 0.1, 0.02, 0.2  # weight of LeCAM's penalty; steps of its means and of the weight
_WEIGHED_EVERY = 16
_LARGEST_SHIFT = 8  # pixels


@dataclass(eq=False)
class SampleCritic:
    """Tells samples from photos by the activations of ``TAPS``; reconstructions it never sees: it asked of them what
    the samples had too much of, and both grew worse (docs/bases.md).

    Hinge loss; LeCAM's penalty (Tseng et al., "Regularizing GANs under limited data", CVPR 2021). Its weight holds its
    slope at a sample in proportion to the likeness's at a reconstruction (Esser et al., "Taming Transformers", CVPR
    2021, equation 7, there at the last layer).

    Args:
        network: judges.
        optimiser: of its heads.
        team: of the processes that train.
        share: that proportion.
    """

    network: FeatureDiscriminator
    optimiser: torch.optim.Optimizer
    team: Team
    share: float
    weight: float = 0.0
    _means: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def learn(self, photos: Sequence[Tensor], samples: Sequence[Tensor]) -> Tensor:
        """One update on activations of both; the mean loss of its heads."""
        heads = self.network.heads.requires_grad_(True)
        real, made = (self.network.judge([x[i].detach() for i in _JUDGED]) for x in (photos, samples))
        now = [(a.detach().mean(), b.detach().mean()) for a, b in zip(real, made, strict=True)]
        before = self._means or [(torch.zeros_like(a), torch.zeros_like(b)) for a, b in now]
        self._means = [(a.lerp(c, _LEAN), b.lerp(d, _LEAN)) for (a, b), (c, d) in zip(before, now, strict=True)]
        loss = torch.zeros((), device=real[0].device)
        for a, b, (mean_real, mean_made) in zip(real, made, self._means, strict=True):
            loss = loss + F.relu(1 - a).mean() + F.relu(1 + b).mean()
            loss = loss + _SIDES * (F.relu(a - mean_made).square().mean() + F.relu(mean_real - b).square().mean())
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.team.average_gradients(parameters_of(self.optimiser))
        self.optimiser.step()
        heads.requires_grad_(False)
        return loss.detach() / len(real)

    def objection(self, number: int, samples: Sequence[Tensor], likeness: Tensor, images: Tensor) -> Tensor:
        """What the samples lack, weighted.

        Args:
            number: of the update; the weight is measured anew now and then.
            samples: their activations.
            likeness: the loss of the reconstructions.
            images: reconstructions, then samples.
        """
        lacking = torch.stack([-logits.mean() for logits in self.network.judge([samples[i] for i in _JUDGED])]).mean()
        if not self.weight or number % _WEIGHED_EVERY == 0:
            first = len(images) - len(samples[0])
            (a,), (b,) = (torch.autograd.grad(one, images, retain_graph=True) for one in (likeness, lacking))
            slopes = (x.flatten(1).norm(dim=1).mean() for x in (a[:first], b[first:]))
            wanted = self.share * float(next(slopes)) / (float(next(slopes)) + 1e-12)
            self.weight += (wanted - self.weight) * (_MEMORY if self.weight else 1.0)
        return self.weight * lacking


def seen(photos: Tensor, images: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Photos and images [n, 3, h, h] as they are looked at: all moved alike, and each photo as bright and as rich in
    contrast as the image of its number (after Zhao et al., "Differentiable augmentation", NeurIPS 2020).
    """
    side, (down, right) = images.shape[-1], rng.integers(0, 2 * _LARGEST_SHIFT + 1, 2)
    gain, offset = (
        torch.from_numpy(rng.uniform(low, high, (len(images), 1, 1, 1)).astype(np.float32)).to(images.device)
        for low, high in ((0.8, 1.2), (-0.2, 0.2))
    )

    def moved(x: Tensor) -> Tensor:
        return F.pad(x, (_LARGEST_SHIFT,) * 4)[:, :, down : down + side, right : right + side]

    return moved(photos * gain[: len(photos)] + offset[: len(photos)]), moved(images * gain + offset)
