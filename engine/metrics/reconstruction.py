"""How near a reconstruction is to its photo: MSE, PSNR, SSIM. Images are float in [-1, 1] or uint8."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError

__all__ = ["mean_squared_error", "psnr", "ssim"]

Images = NDArray[np.floating] | NDArray[np.uint8]
LUMA = np.array([0.299, 0.587, 0.114])


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

    Arguments and errors as :func:`mean_squared_error`.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(4.0 / mean_squared_error(images, targets)))


def ssim(images: Images, targets: Images) -> NDArray[np.float64]:
    """Mean structural similarity of each pair's luma, -1 to 1 (Wang et al. 2004: Gaussian 11 x 11, sigma 1.5).

    Arguments and errors as :func:`mean_squared_error`; images are at least 11 pixels wide and high.
    """
    a, b = _pair(images, targets)
    if min(a.shape[1:3]) < 11:
        raise UsageError("images", expected="at least 11 x 11 pixels", found=f"shape {a.shape}")
    x, y = (np.asarray((v + 1) * 127.5 @ LUMA) for v in (a, b))
    mean_x, mean_y = _smooth(x), _smooth(y)
    var_x, var_y = _smooth(x * x) - mean_x**2, _smooth(y * y) - mean_y**2
    covariance = _smooth(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    bottom = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return np.asarray((top / bottom).mean(axis=(1, 2)))


def _smooth(x: NDArray[np.float64]) -> NDArray[np.float64]:
    kernel = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    kernel /= kernel.sum()
    rows = np.lib.stride_tricks.sliding_window_view(x, 11, axis=1) @ kernel
    return np.asarray(np.lib.stride_tricks.sliding_window_view(rows, 11, axis=2) @ kernel)


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
