"""Photos prepared for comparison in native code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface import _native
from everface.engine.errors import UsageError
from everface.engine.latents.degradation import Degradation
from everface.engine.latents.model import Floats, Index, Targets
from everface.engine.pictures import to_floats


@dataclass(frozen=True, eq=False)
class NativeTargets:
    """What pictures are compared with.

    Attributes:
        photos: with their perceptual features.
        degradation: of what is compared with the photos, None for none.
    """

    photos: _native.Targets
    degradation: Degradation | None = None

    def __len__(self) -> int:
        return len(self.photos)

    @classmethod
    def of(
        cls, loss: _native.ReconstructionLoss, images: NDArray[np.uint8] | Floats, degradation: Degradation | None
    ) -> NativeTargets:
        """See ``everface.engine.learn.backend.Backend.prepare``."""
        if images.ndim != 4 or images.shape[3] != 3 or images.shape[1] != images.shape[2] or images.shape[1] < 16:
            raise UsageError("images", expected="[n, R, R, 3], R at least 16", found=str(images.shape))
        photos = to_floats(images)
        if degradation is None or degradation.is_identity:
            return cls(loss.prepare(np.ascontiguousarray(photos)))
        return cls(loss.prepare(np.ascontiguousarray(degradation.of_photo(photos))), degradation)

    @classmethod
    def join(cls, *targets: Targets) -> NativeTargets:
        """All of them in order; none degraded.

        Raises:
            UsageError: one is, or is another backend's, or there is none.
        """
        parts = [cls.checked(part) for part in targets]
        if not parts or any(part.degradation is not None for part in parts):
            expected, remedy = "undegraded photos", "prepare photos together to degrade them"
            raise UsageError("targets", expected=expected, found="degraded ones, or none", remedy=remedy)
        return cls(_native.join_targets([part.photos for part in parts]))

    @classmethod
    def checked(cls, targets: Targets) -> NativeTargets:
        """These targets.

        Raises:
            UsageError: they are another backend's.
        """
        if not isinstance(targets, cls):
            raise UsageError("targets", expected="those of the native backend", found=type(targets).__name__)
        return targets

    def degraded(self, pictures: Floats) -> Floats:
        """What is compared with the photos."""
        return pictures if self.degradation is None else np.ascontiguousarray(self.degradation(pictures))

    def pulled_back(self, slopes: Floats) -> Floats:
        """The derivative by pictures from that by what ``degraded`` makes of them: A' (mask * d) A."""
        if self.degradation is None:
            return slopes
        matrix, mask = self.degradation.matrix(slopes.shape[1]), self.degradation.mask
        masked = slopes if mask is None else slopes * mask[:, :, None]
        return np.ascontiguousarray(np.einsum("ba,nbcx,cd->nadx", matrix, masked, matrix, optimize=True), np.float32)


def rows_of(index: Index | None, count: int) -> Index:
    """The rows that an index means, all of them for None."""
    return np.arange(count, dtype=np.int64) if index is None else np.ascontiguousarray(index, np.int64)
