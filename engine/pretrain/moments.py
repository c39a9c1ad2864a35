"""Matching of moments: generated pictures as a whole get the mean and the covariance of real ones in feature space."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from everface.engine.numerics import compute_dtype
from everface.engine.perception.perceptual import PerceptualDistance
from everface.engine.pretrain.faces import Faces

__all__ = ["MomentMatch", "transport"]

LAYERS = ("block3", "block6", "block10", "block13")
_GRID = 2  # features are averaged over each quarter of the picture
_BATCH = 32


class MomentMatch:
    """Pulls each generated picture to where the optimal transport between two Gaussians would put it.

    The squared Wasserstein distance of the Gaussians fitted to generated and to real features (the Frechet distance;
    Dowson and Landau 1982) has, with respect to one feature vector f, a gradient proportional to f - T(f), T being the
    transport of one Gaussian to the other. The Gaussian of generated pictures is that of the last ``memory`` ones, so
    that small batches do (Yang et al. 2026, "Representation Frechet Loss for Visual Generation"). Features are
    MobileNetV2's, averaged over quarters, scaled to unit variance, in the leading directions of the real ones: not
    those that :mod:`everface.engine.pretrain.evaluate` judges by.

    Args:
        perceptual: the frozen network.
        faces: real pictures.
        rng: chooses them.
        real: how many.
        memory: generated pictures remembered; nothing is pulled before that many have been seen.
        size: leading directions that are kept.
        refit: updates from one fit of the transport to the next.
    """

    def __init__(
        self,
        perceptual: PerceptualDistance,
        faces: Faces,
        rng: np.random.Generator,
        *,
        real: int = 6000,
        memory: int = 3000,
        size: int = 256,
        refit: int = 20,
    ) -> None:
        self._perceptual, self._refit, self._updates = perceptual, refit, 0
        device = perceptual.get_buffer("gain").device
        with torch.no_grad():
            drawn = [faces.draw(_BATCH, rng).to(device) for _ in range(-(-real // _BATCH))]
            found = torch.cat([self._raw(one) for one in drawn])
        mean, deviation = found.mean(dim=0), found.std(dim=0) + 1e-6
        scaled = ((found - mean) / deviation).double()
        _, directions = torch.linalg.eigh(scaled.T @ scaled / len(scaled))
        leading = directions[:, -size:].float()
        self._mean, self._project = mean, leading / deviation[:, None]
        kept = (found - mean) @ self._project
        self._real = _moments(kept)
        self._memory = torch.zeros(memory, kept.shape[1], device=device)
        self._seen = 0
        self._map: tuple[Tensor, Tensor, Tensor] | None = None

    def features(self, images: Float[Tensor, "n 3 h h"]) -> Float[Tensor, "n d"]:
        """The features of pictures in [-1, 1], real ones having mean 0."""
        found: Tensor = (self._raw(images) - self._mean) @ self._project
        return found

    def _raw(self, images: Tensor) -> Tensor:
        dtype = compute_dtype()
        with torch.autocast("cpu", dtype, enabled=images.device.type == "cpu" and dtype != torch.float32):
            maps = self._perceptual.activations(images, LAYERS)
            return torch.cat([F.adaptive_avg_pool2d(one.float(), _GRID).flatten(1) for one in maps], dim=1)

    def loss(self, images: Float[Tensor, "n 3 h h"]) -> Tensor:
        """Mean squared distance to the transported features, over directions; 0 until the memory is full."""
        found = self.features(images)
        self._remember(found.detach())
        if self._map is None:
            return found.sum() * 0
        ours, theirs, stretch = self._map
        with torch.no_grad():
            wanted = theirs + (found - ours) @ stretch
        return (found - wanted).square().mean()

    def _remember(self, found: Tensor) -> None:
        room = len(self._memory)
        places = (torch.arange(len(found), device=found.device) + self._seen) % room
        self._memory[places] = found
        self._seen += len(found)
        self._updates += 1
        if self._seen >= room and (self._map is None or self._updates % self._refit == 0):
            mean, covariance = _moments(self._memory)
            stretch = transport(covariance, self._real[1])
            self._map = tuple(torch.from_numpy(x).to(found) for x in (mean, self._real[0], stretch))  # type: ignore[assignment]


def transport(ours: NDArray[np.float64], theirs: NDArray[np.float64], ridge: float = 1e-3) -> NDArray[np.float64]:
    """The symmetric matrix that carries a Gaussian of one covariance to that of another, by optimal transport.

    Args:
        ours, theirs: [d, d], positive semi-definite.
        ridge: share of the mean variance that is added to both.
    """
    eye = np.eye(len(ours))
    ours, theirs = (x + ridge * np.trace(x) / len(x) * eye for x in (ours, theirs))
    values, vectors = np.linalg.eigh(ours)
    root, inverse = ((vectors * values**power) @ vectors.T for power in (0.5, -0.5))
    between, axes = np.linalg.eigh(root @ theirs @ root)
    return np.asarray(inverse @ ((axes * np.sqrt(np.maximum(between, 0))) @ axes.T) @ inverse)


def _moments(features: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    found = features.double().cpu().numpy()
    return found.mean(axis=0), np.cov(found, rowvar=False)
