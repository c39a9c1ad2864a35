"""What happened to a photo, as an operator on pictures: the restoration looks for the face that it would do this to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from everface.engine.errors import UsageError

__all__ = ["Degradation"]


@dataclass(frozen=True, eq=False)
class Degradation:
    """A linear operator, applied to the generated picture and to the photo alike.

    Applied to the photo as well it changes little, since these losses are (nearly) projections, and it takes from it
    what is not the face's: noise above the blur, whatever is painted over where the mask says so.

    Attributes:
        factor: the photo has this many times fewer pixels across than the aligned picture, at least 1.
        blur: standard deviation of a Gaussian blur in pixels of the aligned picture, 0 for none.
        mask: [1, 1, r, r] in [0, 1], 0 where the photo shows nothing of the face; None for the whole.
    """

    factor: float = 1.0
    blur: float = 0.0
    mask: Tensor | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.factor <= 64:
            raise UsageError("factor", expected="1 to 64", found=f"{self.factor}")
        if not 0 <= self.blur <= 64:
            raise UsageError("blur", expected="0 to 64 pixels", found=f"{self.blur}")
        if self.mask is not None and float(self.mask.mean()) < 0.02:
            remedy = "leave more of the face visible; white is kept, black is filled in"
            raise UsageError("mask", expected="at least 2 % of the picture visible", found="less", remedy=remedy)

    @property
    def is_identity(self) -> bool:
        """Whether nothing happened."""
        return self.factor == 1 and self.blur == 0 and self.mask is None

    def __call__(self, images: Float[Tensor, "n 3 r r"]) -> Float[Tensor, "n 3 r r"]:
        """The degraded pictures, of the same size; what is masked is 0, the middle of [-1, 1]."""
        side = images.shape[-1]
        if self.blur:
            images = _gaussian(images, self.blur)
        if self.factor > 1:
            small = max(4, round(side / self.factor))
            images = F.interpolate(images, (small, small), mode="bilinear", antialias=True, align_corners=False)
            images = F.interpolate(images, (side, side), mode="bilinear", align_corners=False)
        return images if self.mask is None else images * self.mask


def _gaussian(images: Tensor, sigma: float) -> Tensor:
    """Separable blur as shifted adds: the backward pass of a depthwise convolution is slow on a CPU."""
    reach = min(max(1, math.ceil(3 * sigma)), images.shape[-1] - 1)
    taps = torch.exp(-(torch.arange(-reach, reach + 1).float() ** 2) / (2 * sigma * sigma))
    weights = (taps / taps.sum()).tolist()
    for dim in (2, 3):
        size = images.shape[dim]
        pad = (0, 0, reach, reach) if dim == 2 else (reach, reach, 0, 0)
        padded = F.pad(images, pad, mode="reflect")
        images = torch.stack([w * padded.narrow(dim, i, size) for i, w in enumerate(weights)]).sum(dim=0)
    return images
