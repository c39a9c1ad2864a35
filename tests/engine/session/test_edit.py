"""Edits: on the embedded base with a real search, and their rules on the tiny one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from everface import Engine, EngineConfig
from everface.engine.config import InvertConfig, TuneConfig
from everface.engine.errors import NothingToDoError, UsageError
from everface.engine.photos import FaceModels
from everface.engine.photos.attributes import UNITS, FaceAttributes, face_attributes
from everface.engine.session import edit as verb


def test_an_edit_turns_the_head_and_brightens(tmp_path: Path, batches: list[list[Path]]) -> None:
    """Measured here anew, by the networks that measure photos: a picture that stayed as it was would fail."""
    config = EngineConfig("base64", invert=InvertConfig(4), tune=TuneConfig(8, settle_window=0))
    with Engine.create(tmp_path / "me.everface", config) as engine:
        engine.update(batches[0])
        still = engine.reconstruct(batches[0][0])
        edited = engine.edit(batches[0][0], {"pose": 10.0, "brightness": 15.0})
    models = FaceModels.load()
    before, after = face_attributes(models, still.image), face_attributes(models, edited.image)
    assert before is not None and after is not None
    for name, asked in (("pose", 10.0), ("brightness", 15.0)):
        measured = after.values[name] - before.values[name]
        assert 0.6 < measured / asked < 1.4
        (effect,) = [one for one in edited.effects if one.name == name]
        assert effect.asked == asked and effect.measured == pytest.approx(measured, abs=0.5)
    assert not edited.limited


@pytest.fixture
def learned(engine: Engine, batches: list[list[Path]], short_search: None, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(verb, "_STEPS", (2, 2))
    engine.update(batches[0])
    return engine


def test_nothing_asked_is_the_picture_of_reconstruct(learned: Engine, batches: list[list[Path]]) -> None:
    done = learned.edit(batches[1][0], {"pose": 0.0})
    assert np.array_equal(done.image, learned.reconstruct(batches[1][0]).image)
    assert done.effects == () and not done.limited


def test_wrong_changes_are_named(learned: Engine, batches: list[list[Path]]) -> None:
    for changes, named in (({"age": 1.0}, "change"), ({"pose": float("nan")}, "pose")):
        with pytest.raises(UsageError, match=named):
            learned.edit(batches[1][0], changes)
    with pytest.raises(UsageError, match="stay"):
        learned.edit(batches[1][0], {}, stay=2.0)
    with pytest.raises(NothingToDoError, match="a face in the model's picture"):
        learned.edit(batches[1][0], {"smile": 1.0})  # the tiny base draws none


def test_it_says_when_it_falls_short(
    learned: Engine, batches: list[list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What looks sees half of what was asked at the most, so the edit asks for more, and ends with what it has."""
    y, x = np.mgrid[:468, :3].astype(float)
    points = np.stack([8 + 4 * np.cos(y[:, 0]), 8 + 4 * np.sin(1.7 * y[:, 0]), x[:, 2]], axis=1)

    def look(_: FaceModels, image: np.ndarray) -> FaceAttributes:
        return FaceAttributes(points, dict.fromkeys(UNITS, 0.0) | {"brightness": 0.1 * float(image.mean())})

    monkeypatch.setattr(verb, "face_attributes", look)
    done = learned.edit(batches[1][0], {"brightness": 60.0})
    assert done.limited
    assert done.effects[0].measured < 0.5 * done.effects[0].asked


def test_amounts_follow_what_was_measured() -> None:
    assert verb._nearer(10.0, 10.0, 8.0, False) == pytest.approx(12.5)
    assert verb._nearer(10.0, 10.0, 1.0, False) == 20.0
    assert verb._nearer(25.0, 10.0, 2.0, False) == 30.0
    assert verb._nearer(-10.0, -10.0, -30.0, False) == -5.0
    assert verb._nearer(10.0, 10.0, 10.0, True) == 7.0
    assert verb._nearer(10.0, 10.0, float("nan"), False) == 7.0
    assert verb._error({"pose": 10.0, "smile": -1.0}, {"pose": 9.0, "smile": -0.5}) == pytest.approx(0.5)
    assert verb._error({"pose": 10.0}, {"pose": float("nan")}) == np.inf
