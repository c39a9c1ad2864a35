"""How near a reconstruction is to its photo: MSE and PSNR. Images are float in [-1, 1] or uint8."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError

Images = NDArray[np.floating] | NDArray[np.uint8]


def mean_squared_error(images: Images, targets: Images) -> NDArray[np.float64]:
    """Mean squared difference of each pair, in the units of [-1, 1] (0 to 4).

    Args:
        images: [n, h, w, 3], uint8 in 0..255 or float in [-1, 1].
        targets: the same shape; the kind may differ.

    Returns:
        [n] float64.

    Raises:
        UsageError: the shapes differ, or are not batches of RGB images.
    """
    a, b = _pair(images, targets)
    return np.asarray(np.square(a - b).mean(axis=(1, 2, 3)))


def psnr(images: Images, targets: Images) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio of each pair in dB, ``10 log10(peak^2 / MSE)``; infinite for equal images.

    Arguments and errors as ``mean_squared_error``.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(4.0 / mean_squared_error(images, targets)))


def _pair(images: Images, targets: Images) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if images.shape != targets.shape:
        raise UsageError("images", expected=f"shape {targets.shape}, as the targets", found=f"shape {images.shape}")
    if images.ndim != 4 or images.shape[-1] != 3 or images.size == 0:
        raise UsageError("images", expected="shape [n, h, w, 3], not empty", found=f"shape {images.shape}")
    return _unit_range("images", images), _unit_range("targets", targets)


def _unit_range(name: str, images: Images) -> NDArray[np.float64]:
    """float64 in [-1, 1]."""
    if images.dtype == np.uint8:
        return np.asarray(images / 127.5 - 1)
    if not np.issubdtype(images.dtype, np.floating):
        raise UsageError(name, expected="uint8 or floating point", found=str(images.dtype))
    if not np.isfinite(images).all():
        raise UsageError(name, expected="finite numbers", found="NaN or infinity")
    return images.astype(np.float64)
