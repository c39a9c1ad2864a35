"""Codes carry their cameras at the end."""

from __future__ import annotations

import numpy as np

from everface.engine.latents.model import join_camera


def test_cameras_stand_at_the_end_of_every_row() -> None:
    rng = np.random.default_rng(0)
    styles, cameras = rng.standard_normal((2, 4)).astype(np.float32), rng.standard_normal((2, 25))
    assert np.array_equal(join_camera(styles, cameras)[:, 4:], cameras.astype(np.float32))
    layers = join_camera(styles[:, None].repeat(3, 1), cameras)
    assert layers.shape == (2, 3, 29) and np.array_equal(layers[:, 0], layers[:, 2])
    assert np.array_equal(join_camera(styles, np.zeros((2, 0))), styles)
