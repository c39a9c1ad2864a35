"""Thin plates and the warps made of them."""

from __future__ import annotations

import numpy as np

from everface.engine.photos.warp import plate, sampled, source_of


def test_a_plate_goes_through_its_values_and_is_flat_at_the_border() -> None:
    points = np.array([[30.0, 30.0], [64.0, 70.0], [90.0, 40.0], [500.0, 3.0]])
    values = np.array([[3.0, 0.0], [-2.0, 1.0], [4.0, 2.0], [1e6, 1e6]])  # the last lies outside
    surface = plate(points, values, 128, 0.0)
    assert surface.shape == (128, 128, 2)
    # The plate is evaluated every four pixels: between them it is off by what bends there.
    for (x, y), value in zip(points[:3].astype(int), values[:3], strict=True):
        assert np.abs(surface[y, x] - value).max() < 0.35
    assert np.abs(surface[[0, -1]]).max() < 0.5
    stiff = plate(points, values, 128, 1.0)
    assert np.abs(stiff).max() < 0.5 * np.abs(surface).max()


def test_pixels_come_from_where_they_were_moved_away() -> None:
    y, x = np.mgrid[:64, :64].astype(float)
    bump = np.exp(-((x - 32) ** 2 + (y - 32) ** 2) / 200)[..., None] * np.array([5.0, -3.0])
    source = source_of(bump)
    np.testing.assert_allclose(source + sampled(bump, source), np.stack([x, y], axis=-1), atol=1e-3)


def test_samples_lie_between_their_neighbours() -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    places = np.array([[[1.0, 1.0], [1.5, 0.0], [0.0, 0.5], [-9.0, -9.0]]])
    np.testing.assert_allclose(sampled(picture, places)[0, :, 0], [5, 1.5, 2, 0], atol=1e-9)
