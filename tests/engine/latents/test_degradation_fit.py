"""Blur and noise are found again in pictures that were blurred and made noisy."""

from __future__ import annotations

import numpy as np
import pytest

from everface.engine.latents.degradation import Degradation
from everface.engine.latents.degradation_fit import blur_and_noise, fit_degradation

SIDE = 64


def scenes(n: int, seed: int) -> np.ndarray:
    """Pictures whose power falls as that of photos does, uint8 [n, 64, 64, 3]."""
    white = np.random.default_rng(seed).standard_normal((n, SIDE, SIDE))
    cycles = np.fft.fftfreq(SIDE) * SIDE
    shape = 1 / np.maximum(np.hypot(cycles[:, None], cycles), 1) ** 1.2
    gray = np.real(np.fft.ifft2(np.fft.fft2(white) * shape))
    gray *= 45 / gray.std(axis=(1, 2), keepdims=True)
    return np.clip(np.repeat((gray + 127)[..., None], 3, axis=-1), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("blur", "noise"), [(0.0, 0.0), (1.6, 0.0), (3.0, 0.0), (0.0, 25.0), (1.6, 8.0)])
def test_what_was_done_is_found(blur: float, noise: float) -> None:
    photo = Degradation(blur=blur)(scenes(1, 1).astype(np.float32))[0]
    photo += noise * np.random.default_rng(2).standard_normal(photo.shape)
    found, seen = blur_and_noise(np.clip(photo, 0, 255).astype(np.uint8), scenes(6, 3))
    assert found == pytest.approx(blur, abs=0.5)
    assert seen == pytest.approx(noise, abs=0.35 * noise + 6)


def test_a_fit_is_cautious_and_takes_mask_and_factor() -> None:
    clean, sharp = scenes(1, 1)[0], scenes(6, 3)
    assert fit_degradation(clean, sharp).is_identity
    blurred = Degradation(blur=2.0)(clean[None].astype(np.float32))[0].astype(np.uint8)
    assert 1.3 < fit_degradation(blurred, sharp).blur < 2.2
    mask = np.ones((SIDE, SIDE), np.float32)
    mask[40:] = 0
    covered = clean.copy()
    covered[40:] = (200, 0, 0)
    fitted = fit_degradation(covered, sharp, 1.0, mask)
    assert fitted.mask is mask and fitted.blur < 1
    small = Degradation(factor=4.0)(clean[None].astype(np.float32))[0].astype(np.uint8)
    known = fit_degradation(small, sharp, 4.0)
    assert known.factor == 4 and known.blur < 1
    assert str(Degradation(2.0, 1.5, 0.5, mask)) == (
        "2.0 times fewer pixels, a blur of 1.5 pixels, noise that 0.5 pixels of haze hide, a cover"
    )
    assert str(Degradation()) == "nothing"
