"""Inversion finds codes whose pictures it has seen."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from everface.engine.config import InvertConfig
from everface.engine.errors import UsageError
from everface.engine.latents.invert import invert
from everface.engine.latents.model import join_camera
from everface.engine.learn.backend import Backend
from everface.engine.photos.camera import orbit
from everface.engine.progress import Progress


@pytest.fixture(scope="module")
def backend(quick_backend: Callable[..., Backend]) -> Backend:
    return quick_backend()


def test_own_pictures_are_found_again(backend: Backend) -> None:
    model = backend.model(None)
    w = model.map(np.random.default_rng(1).standard_normal((5, 32), np.float32))
    targets = backend.prepare(model.render(w))
    heard: list[Progress] = []
    before = model.losses(backend.mean[None].repeat(5, 0), targets)
    found = invert(model, targets, backend.mean, InvertConfig(60, 0.1, batch=2), on_progress=heard.append)
    assert found.codes.shape == (5, 32)
    assert (found.losses < 0.5 * before).all()
    assert heard[-1].done == heard[-1].total == 5 * 60
    assert heard[-1].seconds_left == pytest.approx(0)


def test_w_plus_does_at_least_as_well_from_w(backend: Backend) -> None:
    model, targets = (
        backend.model(None),
        backend.prepare(np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)),
    )
    start = invert(model, targets, backend.mean, InvertConfig(20, 0.1))
    plus = start.codes[:, None].repeat(backend.shape.num_ws, 1)
    found = invert(model, targets, plus, InvertConfig(30, 0.05))
    assert found.codes.shape == (2, backend.shape.num_ws, 32)
    assert (found.losses < start.losses).all()


def test_a_deadline_ends_the_search(backend: Backend) -> None:
    targets, began = backend.prepare(np.zeros((3, 16, 16, 3), np.uint8)), time.monotonic()
    config = InvertConfig(10_000, 0.1, batch=1)
    found = invert(backend.model(None), targets, backend.mean, config, deadline=time.monotonic() + 0.3)
    assert time.monotonic() - began < 5
    assert np.isfinite(found.codes).all()


def test_cameras_stay(quick_backend: Callable[..., Backend], tiny_3d: object) -> None:
    backend = quick_backend(base=str(tiny_3d), dimension="3d")
    cameras = orbit([-20.0, 20.0])
    start = join_camera(backend.mean[None].repeat(2, 0), cameras)
    targets = backend.prepare(np.zeros((2, 16, 16, 3), np.uint8))
    found = invert(backend.model(None), targets, start, InvertConfig(3, 0.1), coordinates=np.eye(32, dtype=np.float32))
    assert np.array_equal(found.codes[:, 32:], cameras.astype(np.float32))
    assert not np.array_equal(found.codes[:, :32], start[:, :32])


def test_shapes_that_do_not_fit_are_refused(backend: Backend) -> None:
    targets = backend.prepare(np.zeros((3, 16, 16, 3), np.uint8))
    for start in (np.zeros((2, 32), np.float32), np.zeros((3, 31), np.float32)):
        with pytest.raises(UsageError, match="start"):
            invert(backend.model(None), targets, start, InvertConfig(1))
    with pytest.raises(UsageError, match="coordinates"):
        invert(backend.model(None), targets, backend.mean, InvertConfig(1), coordinates=np.eye(3, dtype=np.float32))
    nothing = invert(
        backend.model(None), backend.prepare(np.zeros((0, 16, 16, 3), np.uint8)), backend.mean, InvertConfig(1)
    )
    assert nothing.codes.shape == (0, 32) and nothing.losses.shape == (0,)
