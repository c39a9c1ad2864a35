"""What tuning and inversion minimise: MobileNetV2 distance plus squared pixel error."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from everface.engine.errors import UsageError
from everface.engine.perception._images import require_images
from everface.engine.perception.perceptual import PerceptualDistance


@dataclass(frozen=True)
class PreparedTargets:
    """Target images with their perceptual features, computed once.

    Attributes:
        images: [n, 3, side, side] in [-1, 1].
        features: one tensor [n, c, h, w] per layer.
    """

    images: Tensor
    features: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Tensor) -> PreparedTargets:
        """The targets at the given indices [m], a LongTensor; repeats are allowed."""
        return PreparedTargets(self.images[index], tuple(layer[index] for layer in self.features))

    @staticmethod
    def join(*parts: PreparedTargets) -> PreparedTargets:
        """All targets of the parts, in order.

        Raises:
            UsageError: no part is given.
        """
        if not parts:
            raise UsageError("targets", expected="at least one part", found="none", remedy="prepare some targets")
        layers = zip(*(part.features for part in parts), strict=True)
        return PreparedTargets(torch.cat([p.images for p in parts]), tuple(torch.cat(layer) for layer in layers))


class ReconstructionLoss:
    """Per-image loss ``MobileNetV2 distance + mse_weight * MSE``, images in [-1, 1].

    The form is MyStyle's (LPIPS + 1.0 * MSE; paper, personalisation in 2D), with MobileNetV2 distance for LPIPS.

    Args:
        perceptual: the distance.
        mse_weight: weight of the mean squared pixel error, at least 0.
    """

    def __init__(self, perceptual: PerceptualDistance, mse_weight: float = 1.0) -> None:
        if not 0 <= mse_weight < float("inf"):
            raise UsageError("mse_weight", expected="a finite number >= 0", found=f"{mse_weight}")
        self.perceptual, self.mse_weight = perceptual, mse_weight

    def prepare(self, targets: Tensor) -> PreparedTargets:
        """Computes the features of fixed targets [n, 3, side, side] in [-1, 1], once and without gradients.

        Raises:
            UsageError: not such images.
        """
        with torch.no_grad():
            return PreparedTargets(targets.detach(), self.perceptual.features(targets))

    def __call__(self, images: Tensor, targets: PreparedTargets) -> Tensor:
        """Loss [n] of each image [n, 3, side, side] in [-1, 1] against its target, not averaged over the batch.

        Raises:
            UsageError: the shapes differ.
        """
        require_images("images", images)
        if images.shape != targets.images.shape:
            expected, found = (f"shape {list(x.shape)}" for x in (targets.images, images))
            raise UsageError("images", expected=expected, found=found, remedy="pass one target per image")
        mse = (images - targets.images).square().mean((1, 2, 3))
        return self.perceptual.distance(self.perceptual.features(images), targets.features) + self.mse_weight * mse
