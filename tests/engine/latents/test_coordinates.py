"""Coordinates of W: even steps, a faster search, files, bad input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from everface.engine.config import InvertConfig
from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.bases import load_base
from everface.engine.generators.weights import pack_arrays
from everface.engine.latents.coordinates import coordinates_from_bytes, coordinates_of, coordinates_to_bytes
from everface.engine.latents.curvature import measure_curvature
from everface.engine.latents.invert import invert
from everface.engine.latents.space import normal_z
from everface.engine.learn.backend import Backend
from everface.engine.perception.losses import ReconstructionLoss


@pytest.fixture(scope="module")
def backend(quick_backend: Callable[..., Backend]) -> Backend:
    return quick_backend()


@pytest.fixture(scope="module")
def curvature(tiny_base: Path, quick_loss: ReconstructionLoss) -> np.ndarray:
    generator = load_base(str(tiny_base)).generator
    return measure_curvature(generator.synthesis, quick_loss, generator.mapping(normal_z(1000, 32, 5)).detach())


def test_they_even_out_the_curvature(curvature: np.ndarray) -> None:
    found = coordinates_of(curvature).astype(np.float64)
    np.testing.assert_allclose(found, found.T, atol=1e-5)
    before, after = (np.linalg.eigvalsh(matrix) for matrix in (curvature, found @ curvature @ found))
    assert after[-1] / after.mean() < 0.3 * before[-1] / before.mean()
    assert np.sqrt(np.square(np.linalg.eigvalsh(found)).mean()) == pytest.approx(6.0, rel=1e-3)


def test_a_search_in_them_arrives_sooner(backend: Backend, curvature: np.ndarray) -> None:
    model, config = backend.model(None), InvertConfig(15, 0.1)
    targets = backend.prepare(model.render(model.map(normal_z(6, 32, 9).numpy())))
    plain = invert(model, targets, backend.mean, config)
    found = invert(model, targets, backend.mean, config, coordinates=coordinates_of(curvature))
    assert found.losses.mean() < 0.9 * plain.losses.mean()


def test_layers_of_w_plus_move_by_themselves(backend: Backend, curvature: np.ndarray) -> None:
    start = np.broadcast_to(backend.mean, (2, backend.shape.num_ws, 32))
    targets = backend.prepare(np.zeros((2, 16, 16, 3), np.float32))
    found = invert(backend.model(None), targets, start, InvertConfig(3), coordinates=coordinates_of(curvature))
    assert found.codes.shape == start.shape
    assert np.abs(found.codes[:, 0] - found.codes[:, 1]).max() > 1e-3


def test_files_are_bound_to_their_base(curvature: np.ndarray) -> None:
    found = coordinates_of(curvature)
    data = coordinates_to_bytes(found, "a" * 64)
    np.testing.assert_allclose(coordinates_from_bytes(data, "file", "a" * 64), found, rtol=1e-3, atol=1e-3)
    with pytest.raises(CheckpointError, match="measure them anew"):
        coordinates_from_bytes(data, "file", "b" * 64)
    for bad in (b"", data[:100], pack_arrays({"other": found}, {"base_sha256": "a" * 64})):
        with pytest.raises(CheckpointError, match="file"):
            coordinates_from_bytes(bad, "file", "a" * 64)
    with pytest.raises(CheckpointError, match="square"):
        coordinates_from_bytes(coordinates_to_bytes(found[:4], "a" * 64), "file", "a" * 64)


def test_bad_input_is_refused() -> None:
    for bad in (np.zeros((3, 3)), np.ones((2, 3)), np.full((2, 2), np.nan)):
        with pytest.raises(UsageError, match="curvature"):
            coordinates_of(bad)
