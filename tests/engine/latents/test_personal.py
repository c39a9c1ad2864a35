"""The search in a person's subspace."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from everface.engine.errors import UsageError
from everface.engine.latents.model import Targets
from everface.engine.latents.personal import PersonalSearch, _slope_of_raw, _weights, search_personal
from everface.engine.learn.backend import Backend

FLAT = np.zeros(0)


@pytest.fixture(scope="module")
def backend(quick_backend: Callable[..., Backend]) -> Backend:
    return quick_backend()


def grey(backend: Backend) -> Targets:
    return backend.prepare(np.zeros((1, 16, 16, 3), np.float32))


def test_it_finds_a_picture_of_the_hull_again(backend: Backend) -> None:
    model, rng = backend.model(None), np.random.default_rng(0)
    anchors = rng.normal(size=(5, 32)) * 2
    truth = np.array([0.5, 0.3, 0.2, 0.0, 0.0])
    target = backend.prepare(model.render((truth @ anchors).astype(np.float32)[None]))
    short, long = (
        search_personal(model, target, FLAT, anchors, np.full(5, 0.2), search=PersonalSearch(steps))
        for steps in (1, 200)
    )
    assert long.loss < 0.3 * short.loss
    assert long.weights.sum() == pytest.approx(1, abs=1e-5)
    assert long.weights.min() > -0.03
    assert np.array_equal(long.styles[0], long.styles[-1])


def test_layers_are_searched_where_asked(backend: Backend) -> None:
    anchors, start = np.random.default_rng(1).normal(size=(3, 32)), np.array([1.0, 0.0, 0.0])
    search = PersonalSearch(20, layers=True)
    found = search_personal(backend.model(None), grey(backend), FLAT, anchors, start, search=search)
    assert not np.array_equal(found.styles[0], found.styles[-1])


def test_changes_of_layers_lie_in_the_coordinates(backend: Backend) -> None:
    anchors, start = np.random.default_rng(1).normal(size=(3, 32)), np.array([1.0, 0.0, 0.0])
    first = np.zeros((32, 32), np.float32)
    first[0, 0] = 3.0
    search = PersonalSearch(20, layers=True, coordinates=first)
    found = search_personal(backend.model(None), grey(backend), FLAT, anchors, start, search=search)
    change = found.styles - (found.weights @ anchors).astype(np.float32)
    assert np.abs(change[:, 0]).max() > 0.05
    assert np.abs(change[:, 1:]).max() < 1e-4
    with pytest.raises(UsageError, match="coordinates"):
        wrong = PersonalSearch(1, coordinates=np.eye(31, dtype=np.float32))
        search_personal(backend.model(None), grey(backend), FLAT, anchors, start, search=wrong)


def test_slopes_of_the_weights_are_right() -> None:
    rng = np.random.default_rng(2)
    raw, towards = rng.normal(0.2, 0.1, 6).astype(np.float32), rng.normal(size=6).astype(np.float32)

    def loss(values: np.ndarray) -> float:
        weights, total = _weights(values.astype(np.float32), 0.02)
        return float(np.float64(towards) @ weights) + 10 * (total - 1) ** 2

    slope = _slope_of_raw(raw, towards, 0.02)
    for i in range(6):
        step = np.zeros(6)
        step[i] = 2e-3
        measured = (loss(raw + step) - loss(raw - step)) / 4e-3
        assert slope[i] == pytest.approx(measured, rel=0.02, abs=5e-3)


def test_shapes_that_do_not_fit(backend: Backend) -> None:
    with pytest.raises(UsageError, match="anchors"):
        search_personal(backend.model(None), grey(backend), FLAT, np.zeros((3, 32)), np.zeros(2))
    with pytest.raises(UsageError):
        PersonalSearch(steps=0)
