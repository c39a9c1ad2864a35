"""Timelines from an undated album."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from everface.bench.replay_experiment.people import Person
from everface.bench.replay_experiment.timeline import Plan, appearance, make_timeline, plan_for
from everface.engine.errors import UsageError
from everface.engine.perception.perceptual import PerceptualDistance


@pytest.fixture(scope="module")
def features(person: Person) -> np.ndarray:
    return appearance(person, PerceptualDistance.load())


def test_looks_become_timestamps(person: Person, features: np.ndarray) -> None:
    found = make_timeline(person, features, Plan(3, 4, 2), seed=1)
    assert [(len(one.train), len(one.held_out)) for one in found.batches] == [(4, 2)] * 3
    for row, batch in zip(found.rows, found.batches, strict=True):
        looks = person.images[row].mean((1, 2)).argmax(1)
        assert len(set(looks.tolist())) == 1
        np.testing.assert_array_equal(person.images[row], np.concatenate([batch.train, batch.held_out]))
    assert len(set(np.concatenate(found.rows).tolist())) == 18
    assert found.within < 0.8 * found.chance
    assert found.within < 0.8 * found.between


def test_a_seed_decides(person: Person, features: np.ndarray) -> None:
    one, same, other = (make_timeline(person, features, Plan(3, 4, 2), seed) for seed in (0, 0, 5))
    assert all((a == b).all() for a, b in zip(one.rows, same.rows, strict=True))
    assert not all((a == b).all() for a, b in zip(one.rows, other.rows, strict=True))


def test_features_do_not_move_with_the_order(person: Person, features: np.ndarray) -> None:
    back = np.arange(len(person))[::-1]
    turned = appearance(replace(person, images=person.images[back], pose=person.pose[back]), PerceptualDistance.load())
    distances = [np.linalg.norm(one[:, None] - one[None], axis=2) for one in (features, turned[back])]
    np.testing.assert_allclose(distances[0], distances[1], atol=1e-3)


@pytest.mark.parametrize(("photos", "most", "timestamps"), [(490, 10, 10), (118, 10, 5), (40, 10, 2), (490, 3, 3)])
def test_as_many_groups_as_fit(photos: int, most: int, timestamps: int) -> None:
    assert plan_for(photos, most, 10, 5) == Plan(timestamps, 10, 5)


def test_small_albums_are_refused() -> None:
    with pytest.raises(UsageError, match="two timestamps"):
        plan_for(39, 10, 10, 5)
