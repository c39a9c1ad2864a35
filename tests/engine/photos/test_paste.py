"""A face goes back into its photo."""

from __future__ import annotations

import numpy as np

from everface.engine.photos.align import CropQuad, align_face
from everface.engine.photos.paste import paste_face


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 17 + k) + np.cos(y / 23 - k) for k in range(3)]
    return (127 + 40 * np.stack(waves, axis=-1)).astype(np.uint8)


def test_what_was_cut_out_fits_back_in() -> None:
    photo = smooth(200, 260)
    for quad in (CropQuad(np.array([130.0, 100.0]), np.array([50.0, 12.0])),
                 CropQuad(np.array([15.0, 30.0]), np.array([40.0, -5.0]))):  # fmt: skip
        crop = align_face(photo, quad, 128)
        pasted = paste_face(photo, crop, quad)
        assert pasted.shape == photo.shape
        assert np.abs(pasted.astype(int) - photo).max() <= 6  # one resampling there, one back
    red = np.zeros((128, 128, 3), np.uint8)
    red[..., 0] = 255
    quad = CropQuad(np.array([130.0, 100.0]), np.array([50.0, 0.0]))
    painted = paste_face(photo, red, quad)
    assert np.array_equal(painted[100, 130], [255, 0, 0])
    assert np.array_equal(painted[:48], photo[:48]) and np.array_equal(painted[:, :78], photo[:, :78])


def test_the_picture_takes_the_photos_colours() -> None:
    photo = smooth(200, 260)
    quad = CropQuad(np.array([130.0, 100.0]), np.array([50.0, 12.0]))
    crop = align_face(photo, quad, 64)
    darker = (crop * 0.6).astype(np.uint8)
    matched = paste_face(photo, darker, quad, match=crop)
    assert (
        np.abs(matched.astype(int) - photo).mean()
        < 0.2 * np.abs(paste_face(photo, darker, quad).astype(int) - photo).mean()
    )
