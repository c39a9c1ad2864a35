"""What happened to a photo, as an operator on pictures: the restoration looks for the face that it would do this to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Degradation:
    """A linear operator on the generated picture: mask * (A x A') of each channel x.

    What happened to the photo is done to the picture alone; the photo has it already. What takes from the photo that
    which is not the face's, its noise and whatever is painted over, is done to both.

    Attributes:
        factor: the photo has this many times fewer pixels across than the aligned picture, at least 1.
        blur: standard deviation of the photo's Gaussian blur in pixels of the aligned picture, 0 for none.
        haze: the same of a further blur, of picture and photo, that hides the photo's noise.
        mask: [r, r] in [0, 1], 0 where the photo shows nothing of the face; None for the whole.
    """

    factor: float = 1.0
    blur: float = 0.0
    haze: float = 0.0
    mask: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.factor <= 64:
            raise UsageError("factor", expected="1 to 64", found=f"{self.factor}")
        for name, blur in (("blur", self.blur), ("haze", self.haze)):
            if not 0 <= blur <= 64:
                raise UsageError(name, expected="0 to 64 pixels", found=f"{blur}")
        if self.mask is not None and float(self.mask.mean()) < 0.02:
            remedy = "leave more of the face visible; white is kept, black is filled in"
            raise UsageError("mask", expected="at least 2 % of the picture visible", found="less", remedy=remedy)

    @property
    def is_identity(self) -> bool:
        """Whether nothing happened."""
        return self.factor == 1 and self.blur == self.haze == 0 and self.mask is None

    def __str__(self) -> str:
        """In words, for whoever asks what a photo was taken for."""
        parts = [
            f"{self.factor:.1f} times fewer pixels" if self.factor > 1 else "",
            f"a blur of {self.blur:.1f} pixels" if self.blur else "",
            f"noise that {self.haze:.1f} pixels of haze hide" if self.haze else "",
            "a cover" if self.mask is not None else "",
        ]
        return ", ".join(filter(None, parts)) or "nothing"

    def matrix(self, side: int) -> NDArray[np.float32]:
        """A [side, side]: blur, fewer pixels and back, haze, along one axis; both axes are treated alike."""
        total = np.eye(side)
        if self.blur:
            total = _gaussian(side, self.blur)
        if self.factor > 1:
            small = max(4, round(side / self.factor))
            total = _enlarging(small, side) @ _shrinking(side, small) @ total
        if self.haze:
            total = _gaussian(side, self.haze) @ total
        return total.astype(np.float32)

    @property
    def of_photo(self) -> Degradation:
        """The part that is done to the photo too."""
        return Degradation(haze=self.haze, mask=self.mask)

    def __call__(self, images: NDArray[np.floating]) -> NDArray[np.float32]:
        """The degraded pictures [n, r, r, 3], of the same size; what is masked is 0, the middle of [-1, 1]."""
        matrix = self.matrix(images.shape[1])
        degraded = np.einsum("ab,nbcx,dc->nadx", matrix, images, matrix, optimize=True)
        return np.asarray(degraded if self.mask is None else degraded * self.mask[:, :, None], np.float32)


def _gaussian(side: int, sigma: float) -> Matrix:
    """Blur of standard deviation ``sigma``, mirrored at the edges (the edge itself once)."""
    reach = min(max(1, math.ceil(3 * sigma)), side - 1)
    offsets = np.arange(-reach, reach + 1)
    taps = np.exp(-(offsets**2) / (2 * sigma * sigma))
    blur = np.zeros((side, side))
    for offset, tap in zip(offsets, taps / taps.sum(), strict=True):
        source = np.abs(np.arange(side) + offset)
        source = np.where(source >= side, 2 * (side - 1) - source, source)
        blur[np.arange(side), source] += tap
    return blur


def _shrinking(side: int, small: int) -> Matrix:
    """[small, side] bilinear resampling whose triangle is as wide as the new pixels (antialiased)."""
    scale = side / small
    centres = scale * (np.arange(small) + 0.5)
    near = np.maximum(0.0, 1 - np.abs(np.arange(side)[None] + 0.5 - centres[:, None]) / scale)
    return np.asarray(near / near.sum(axis=1, keepdims=True))


def _enlarging(small: int, side: int) -> Matrix:
    """[side, small] bilinear interpolation between the middles of pixels."""
    place = np.clip((np.arange(side) + 0.5) * small / side - 0.5, 0, small - 1)
    return np.asarray(np.maximum(0.0, 1 - np.abs(place[:, None] - np.arange(small)[None])))
