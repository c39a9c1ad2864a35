"""Photos prepared for comparison in PyTorch, and the loss against them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from everface.engine.errors import UsageError
from everface.engine.latents.degradation import Degradation
from everface.engine.latents.model import Floats, Index, Targets
from everface.engine.perception.losses import PreparedTargets, ReconstructionLoss
from everface.engine.perception.tensors import to_tensor


@dataclass(frozen=True, eq=False)
class TorchTargets:
    """What pictures are compared with.

    Attributes:
        prepared: photos [n, 3, R, R] with their perceptual features.
        matrix: A [R, R] of their degradation, None for none.
        mask: [R, R] of it, None for none.
    """

    prepared: PreparedTargets
    matrix: Tensor | None = None
    mask: Tensor | None = None

    @classmethod
    def of(
        cls, loss: ReconstructionLoss, images: NDArray[np.uint8] | Floats, degradation: Degradation | None
    ) -> TorchTargets:
        """See ``everface.engine.learn.backend.Backend.prepare``."""
        if images.ndim != 4 or images.shape[3] != 3 or images.shape[1] != images.shape[2]:
            raise UsageError("images", expected="[n, R, R, 3]", found=str(images.shape))
        if images.dtype == np.uint8:
            photos = to_tensor(images.astype(np.uint8, copy=False))
        else:
            photos = torch.from_numpy(np.ascontiguousarray(images, np.float32)).permute(0, 3, 1, 2)
        if degradation is None or degradation.is_identity:
            return cls(loss.prepare(photos))
        matrix = torch.from_numpy(degradation.matrix(images.shape[1]))
        mask = None if degradation.mask is None else torch.from_numpy(np.array(degradation.mask, np.float32))
        of_photo = torch.from_numpy(degradation.of_photo.matrix(images.shape[1]))
        return cls(loss.prepare(_degraded(photos, of_photo, mask)), matrix, mask)

    @classmethod
    def join(cls, *targets: Targets) -> TorchTargets:
        """All of them in order; none degraded.

        Raises:
            UsageError: one is, or is another backend's.
        """
        parts = [cls.checked(part) for part in targets]
        if any(part.matrix is not None for part in parts):
            raise UsageError("targets", expected="photos as they are", found="degraded ones")
        return parts[0] if len(parts) == 1 else cls(PreparedTargets.join(*(part.prepared for part in parts)))

    @classmethod
    def checked(cls, targets: Targets) -> TorchTargets:
        """These targets, if they are this backend's.

        Raises:
            UsageError: they are another's.
        """
        if not isinstance(targets, cls):
            raise UsageError("targets", expected="those of the PyTorch backend", found=type(targets).__name__)
        return targets

    def __len__(self) -> int:
        return len(self.prepared)

    def losses(self, loss: ReconstructionLoss, pictures: Tensor, index: Index | None = None) -> Tensor:
        """Loss [m] of pictures [m, 3, R, R], differentiable, each against the target of that index."""
        prepared = self.prepared if index is None else self.prepared[torch.from_numpy(index)]
        if self.matrix is not None:
            pictures = _degraded(pictures, self.matrix, self.mask)
        return loss(pictures, prepared)


def _degraded(pictures: Tensor, matrix: Tensor, mask: Tensor | None) -> Tensor:
    degraded = matrix @ pictures @ matrix.T
    return degraded if mask is None else degraded * mask
