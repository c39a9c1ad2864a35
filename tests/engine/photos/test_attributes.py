"""What is measured on a face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from everface.engine.config import PhotoConfig
from everface.engine.photos import FaceModels
from everface.engine.photos.attributes import DEVIATIONS, UNITS, face_attributes, halves_contrast, mouth_shape
from everface.engine.photos.pose import mean_face
from everface.engine.photos.single import align_single


def test_a_photo_is_measured_in_its_own_pixels(models: FaceModels, face_a: Path) -> None:
    photo = align_single(face_a, 128, PhotoConfig(), models=models)
    face = face_attributes(models, photo.image)
    assert face is not None
    assert set(face.values) == set(UNITS)
    assert 40 < face.points[:, 0].mean() < 88
    assert face.values["pose"] == pytest.approx(photo.yaw, abs=4)
    darker = face_attributes(models, (photo.image * 0.7).astype(np.uint8))
    assert darker is not None
    assert darker.values["brightness"] == pytest.approx(0.7 * face.values["brightness"], abs=1)


def test_no_face_is_none(models: FaceModels) -> None:
    assert face_attributes(models, np.full((64, 64, 3), 90, np.uint8)) is None


def test_quantities_follow_what_they_are_named_after() -> None:
    points = mean_face()[:, :2].copy()
    smiling = points.copy()
    smiling[[61, 291]] += np.array([[-0.05, -0.05], [0.05, -0.05]])
    assert mouth_shape(smiling) > mouth_shape(points) + DEVIATIONS["smile"]
    gray = np.full((256, 256), 100.0)
    gray[:, 128:] = 200
    assert halves_contrast(gray, points * 100 + 128) == pytest.approx(100 / 301)
