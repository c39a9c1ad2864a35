"""How blurred and noisy a photo is, by its spectrum beside that of the person's own pictures.

Faces that are aligned alike have much the same spectrum, wherever they look. A photo's is taken to be
``gain P + noise^2`` at each frequency, with P the power of the person's sharp pictures after a blur: blur takes high
frequencies away, noise adds the same to each. What JPEG does counts as a little noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from everface.engine.latents.degradation import Degradation

_LOWEST = 3  # cycles across the picture: below them the scene's light decides
_PICTURES = 8  # of the person; more say no more
_BLURS = np.arange(0.0, 6.01, 0.2)
_NOISES = np.array([0, 1, 2, 3, 4, 6, 8, 11, 15, 20, 25, 30, 40, 50, 65], np.float64)
_MOST_GAIN = 1.5  # of its logarithm
_GAIN_STEPS = 4
_LUMA = np.array([0.299, 0.587, 0.114])
_SEEN_NOISE = float(np.square(_LUMA).sum())  # of independent noise in three channels, what luma keeps
_HIDES, _MOST_HAZE = 30.0, 2.0  # grey levels of noise that one pixel of haze hides
_SHARP = 0.5  # pixels; less blur than this is how photos are
_CAUTION = 0.9
_FAINT = 7.0  # grey levels, likewise


def fit_degradation(
    photo: NDArray[np.uint8], pictures: NDArray[np.uint8], factor: float = 1.0, mask: NDArray[np.float32] | None = None
) -> Degradation:
    """What happened to a photo.

    Args:
        photo: aligned, uint8 [r, r, 3].
        pictures: sharp ones of the same person, aligned alike, uint8 [n, r, r, 3].
        factor: known from the file: how many times fewer pixels across the photo has.
        mask: of the photo; what it covers is filled with the mean of the rest before it is looked at.
    """
    blur, noise = blur_and_noise(_filled(photo, mask), pictures, factor)
    haze = min(_MOST_HAZE, noise / _HIDES) if noise > _FAINT else 0.0
    # A little less than it looks: what is sharpened too much rings.
    return Degradation(factor, _CAUTION * blur if blur > _SHARP else 0.0, haze, mask)


def blur_and_noise(photo: NDArray[np.generic], pictures: NDArray[np.uint8], factor: float = 1.0) -> tuple[float, float]:
    """Standard deviations of a photo's blur, in pixels and beside the factor's, and of its noise, in grey levels."""
    seen = np.log(_spectrum((photo.astype(np.float64) @ _LUMA)[None]))
    gray = (pictures[:_PICTURES].astype(np.float32) @ _LUMA.astype(np.float32))[..., None]
    losses = [Degradation(factor, float(blur)) for blur in _BLURS]
    passed = np.stack([_spectrum(lost(gray)[..., 0]) for lost in losses])[:, None]
    floor = (_SEEN_NOISE * np.square(_NOISES) + 1e-3)[None, :, None]
    # The gain is judged where the picture rises above the noise, a few times, as it decides where that is.
    above = passed > floor
    above[..., : _LOWEST + 1] = True
    gain = np.zeros((*above.shape[:2], 1))
    for _ in range(_GAIN_STEPS):
        apart = (seen - np.log(np.exp(gain) * passed + floor)) * above
        change = apart.sum(axis=-1, keepdims=True) / above.sum(axis=-1, keepdims=True)
        gain = np.clip(gain + change, -_MOST_GAIN, _MOST_GAIN)
    misses = np.square(seen - np.log(np.exp(gain) * passed + floor)).mean(axis=-1)
    best, noise = np.unravel_index(int(misses.argmin()), misses.shape)
    return float(_BLURS[best]), float(_NOISES[noise])


def _spectrum(gray: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean power at each whole number of cycles across, from ``_LOWEST`` on, of pictures [n, r, r]."""
    side = gray.shape[1]
    window = np.outer(np.hanning(side), np.hanning(side))
    power = np.abs(np.fft.fft2((gray - gray.mean(axis=(1, 2), keepdims=True)) * window)) ** 2
    cycles = np.fft.fftfreq(side) * side
    ring = np.round(np.hypot(cycles[:, None], cycles)).astype(int).ravel()
    total = np.bincount(ring, power.mean(axis=0).ravel()) / np.bincount(ring) / np.square(window).sum()
    return np.asarray(total[_LOWEST : side // 2] + 1e-3)


def _filled(photo: NDArray[np.uint8], mask: NDArray[np.float32] | None) -> NDArray[np.generic]:
    if mask is None:
        return photo
    weight = mask[..., None].astype(np.float64)
    mean = (photo * weight).sum(axis=(0, 1)) / max(float(weight.sum()), 1e-6)
    return np.asarray(photo * weight + mean * (1 - weight))
