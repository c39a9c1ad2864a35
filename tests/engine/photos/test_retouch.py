"""Retouched pictures, measured by the networks that measure photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from everface.engine.config import PhotoConfig
from everface.engine.photos import FaceModels
from everface.engine.photos.attributes import FaceAttributes, eye_opening, face_attributes, mouth_shape
from everface.engine.photos.pose import mean_face
from everface.engine.photos.retouch import face_moves, retouched
from everface.engine.photos.single import align_single
from everface.engine.pictures import to_uint8


@pytest.fixture(scope="module")
def face(models: FaceModels, face_a: Path) -> tuple[np.ndarray, FaceAttributes]:
    image = align_single(face_a, 128, PhotoConfig(), models=models).image
    measured = face_attributes(models, image)
    assert measured is not None
    return image, measured


def test_nothing_asked_is_nothing_changed(face: tuple[np.ndarray, FaceAttributes]) -> None:
    image, before = face
    np.testing.assert_array_equal(to_uint8(retouched(image, before.points, {"pose": 0.0})), image)


@pytest.mark.parametrize(
    ("name", "amount"),
    [("pose", 12.0), ("pose", -12.0), ("pitch", 7.0), ("light", 1.0), ("light", -1.0), ("brightness", 25.0),
     ("smile", 2.0), ("eyes", 2.0)],
)  # fmt: skip
def test_what_is_asked_for_is_seen(
    models: FaceModels, face: tuple[np.ndarray, FaceAttributes], name: str, amount: float
) -> None:
    image, before = face
    after = face_attributes(models, to_uint8(retouched(image, before.points, {name: amount})))
    assert after is not None
    # Between a quarter and twice: the mesh network sees lips and lids of this face less than they move.
    assert 0.25 < (after.values[name] - before.values[name]) / amount < 2
    corners = retouched(image, before.points, {name: amount})[[0, 0, -1, -1], [0, -1, 0, -1]]
    if name != "brightness":
        np.testing.assert_allclose(corners, image[[0, 0, -1, -1], [0, -1, 0, -1]] / 127.5 - 1, atol=0.15)


def test_the_nose_goes_with_the_head(models: FaceModels, face: tuple[np.ndarray, FaceAttributes]) -> None:
    image, before = face
    tips = []
    for yaw in (-15.0, 15.0):
        after = face_attributes(models, to_uint8(retouched(image, before.points, {"pose": yaw})))
        assert after is not None
        eyes = after.points[[33, 133, 263, 362], :2]
        between = np.linalg.norm(eyes[:2].mean(axis=0) - eyes[2:].mean(axis=0))
        tips.append((after.points[1, 0] - eyes[:, 0].mean()) / between)
    assert tips[1] - tips[0] > 0.25


def test_the_moves_are_a_deviation_each_and_symmetric() -> None:
    flat = mean_face()[:, :2]
    smile, eyes = (face_moves()[name] for name in ("smile", "eyes"))
    assert mouth_shape(flat + smile) - mouth_shape(flat) == pytest.approx(0.21, abs=0.04)
    assert eye_opening(flat + eyes) - eye_opening(flat) == pytest.approx(0.016, abs=0.004)
    assert smile[61] == pytest.approx(smile[291] * [-1, 1], abs=0.004)
    assert abs(eye_opening(flat + smile) - eye_opening(flat)) < 0.004
