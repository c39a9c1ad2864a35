"""Sharpness of a face, without a reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from everface.engine.photos.align import align_face, crop_quad

_SIDE = 64  # judged at one size relative to the face, so the photo's resolution does not matter
_CROP_SCALE = 0.8
_BLUR_LENGTH = 9
_LUMA = np.array([0.299, 0.587, 0.114])


def luma(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Rec. 601 luma in [0, 255] of uint8 RGB [..., 3]."""
    gray: NDArray[np.float64] = image.astype(np.float64) @ _LUMA
    return gray


def sharpness(pixels: NDArray[np.uint8], landmarks: NDArray[np.float64]) -> float:
    """How much of a face's fine detail a further blur would destroy.

    The blur effect of Crete et al. 2007 ("The Blur Effect: Perception and Estimation with a New No-Reference Perceptual
    Blur Metric"), turned around: the share of the differences between neighbouring pixels that a box blur of 9 pixels
    takes away. It is measured along rows and along columns, and the smaller one counts, so that motion in one
    direction is found. The face is judged in its own crop at 64 pixels, inside an oval, so neither the
    background, nor contrast, nor the photo's resolution (down to crops of 64 pixels) changes it.

    Args:
        pixels: uint8 [height, width, 3] RGB photo.
        landmarks: float64 [468, 3] face mesh in its pixels.

    Returns:
        Unitless, in [0, 1]: press photos lie at 0.50 to 0.75; a Gaussian blur of 2 % of the crop's side brings them
        to about 0.45, one of 3 % to 0.33. A face without any detail gives 0.
    """
    gray = luma(align_face(pixels, crop_quad(landmarks, _CROP_SCALE), _SIDE))
    return min(_lost_by_blur(gray, axis) for axis in (0, 1))


def _lost_by_blur(gray: NDArray[np.float64], axis: int) -> float:
    reach = [(_BLUR_LENGTH // 2,) * 2 if i == axis else (0, 0) for i in range(2)]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(gray, reach, mode="edge"), _BLUR_LENGTH, axis)
    blurred = windows.mean(axis=-1)
    before = np.abs(np.diff(gray, axis=axis))
    after = np.abs(np.diff(blurred, axis=axis))
    oval = _oval()[1:] if axis == 0 else _oval()[:, 1:]
    total = float(before[oval].sum())
    return float(np.maximum(before - after, 0.0)[oval].sum()) / total if total > 0 else 0.0


def _oval() -> NDArray[np.bool_]:
    """[64, 64], where the face is in its crop."""
    y, x = np.mgrid[:_SIDE, :_SIDE]
    oval: NDArray[np.bool_] = ((x - 31.5) / 22.0) ** 2 + ((y - 33.0) / 28.0) ** 2 < 1.0
    return oval
