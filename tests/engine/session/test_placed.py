"""A photo in front of the model, with an encoder and without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from everface import Engine
from everface.engine.config import InvertConfig
from everface.engine.latents.degradation import Degradation
from everface.engine.photos import FaceModels
from everface.engine.progress import ignore_progress
from everface.engine.session.person import Person
from everface.engine.session.placed import PlacedPhoto


def test_the_search_begins_on_the_hull_and_the_leash_holds_it(engine: Engine, batches: list[list[Path]]) -> None:
    engine.update(batches[0])
    person: Person = engine.person
    placed = PlacedPhoto.of(person, FaceModels.load(), batches[1][0], ignore_progress)
    start = placed.start()
    assert start.shape == (person.backend.shape.num_ws, 32)
    assert person.hull.place(start.astype(np.float64)).distance.max() < 1e-4
    moved = []
    for leash in (0.0, 1000.0):
        styles = placed.search(placed.photo.image, Degradation(), start, InvertConfig(5, leash=leash), ignore_progress)
        moved.append(float(np.linalg.norm(styles - start)))
    assert moved[1] < 0.7 * moved[0]
    portrait = placed.portrait(start, Degradation())
    assert portrait.moved == pytest.approx(0, abs=1e-4)
    assert np.array_equal(portrait.image, placed.picture(start))
