"""Degradations do what they say, as PyTorch's resampling would."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from everface.engine.errors import UsageError
from everface.engine.latents.degradation import Degradation


def test_degradations_do_what_they_say() -> None:
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32) * 2 - 1
    assert Degradation().is_identity and np.array_equal(Degradation()(images), images)
    mask = np.ones((32, 32), np.float32)
    mask[:, :16] = 0
    assert np.abs(Degradation(mask=mask)(images)[:, :, :16]).max() == 0
    flat = np.full((1, 32, 32, 3), 0.25, np.float32)
    for one in (Degradation(blur=2.0), Degradation(factor=4.0), Degradation(factor=3.3, blur=0.7)):
        np.testing.assert_allclose(one(flat), flat, rtol=0, atol=1e-5)
        assert one(images).var() < 0.5 * images.var()
        assert one(images).shape == images.shape
    hazy = Degradation(factor=2.0, blur=1.0, haze=1.5, mask=mask)
    assert np.array_equal(hazy.of_photo(images), Degradation(haze=1.5, mask=mask)(images))
    assert np.array_equal(Degradation(haze=1.5)(images), Degradation(blur=1.5)(images))


@pytest.mark.parametrize("factor", [1.3, 2.7, 4.0, 64.0])
def test_resampling_is_pytorchs(factor: float) -> None:
    images = np.random.default_rng(1).standard_normal((1, 48, 48, 3)).astype(np.float32)
    x = torch.from_numpy(images).permute(0, 3, 1, 2)
    small = F.interpolate(x, (max(4, round(48 / factor)),) * 2, mode="bilinear", antialias=True, align_corners=False)
    expected = F.interpolate(small, (48, 48), mode="bilinear", align_corners=False).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(Degradation(factor=factor)(images), expected, atol=2e-5)


@pytest.mark.parametrize(
    "bad",
    [{"factor": 0.5}, {"blur": -1.0}, {"haze": 65.0}, {"factor": float("nan")}, {"mask": np.zeros((8, 8), np.float32)}],
)
def test_impossible_degradations(bad: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Degradation(**bad)  # type: ignore[arg-type]
