"""Cameras of crops: projections, draped photos seen from known cameras, mirrors, orbits."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from everface.engine.errors import UsageError
from everface.engine.photos import FaceModels
from everface.engine.photos.align import CropQuad
from everface.engine.photos.camera import (
    FOCAL,
    RADIUS,
    camera_angles,
    camera_from_landmarks,
    camera_label,
    camera_numbers,
    face_in_world,
    mirror_camera,
    orbit,
    sample_cameras,
)
from everface.engine.photos.detect import detect_faces
from everface.engine.photos.landmarks import find_mesh

from .conftest import SHARED
from .drape import drape, draw


def projected(label: NDArray[np.float64], face: NDArray[np.float64]) -> NDArray[np.float64]:
    """[468, 2] in sides of the picture, from its upper left."""
    pose, lens = label[:16].reshape(4, 4), label[16:].reshape(3, 3)
    seen = (face - pose[:3, 3]) @ pose[:3, :3] @ lens.T
    image: NDArray[np.float64] = seen[:, :2] / seen[:, 2:]
    return image


def landmarks_of(models: FaceModels, image: Image.Image) -> NDArray[np.float64]:
    faces = detect_faces(models, np.asarray(image))
    assert faces, "no face was found"
    return find_mesh(models, image, faces[0]).points


def test_the_frontal_camera_is_the_published_one() -> None:
    label = orbit(0.0)[0]
    np.testing.assert_allclose(label[:16].reshape(4, 4), [[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 2.7], [0, 0, 0, 1]])
    np.testing.assert_allclose(label[16:], [4.2647, 0, 0.5, 0, 4.2647, 0.5, 0, 0, 1], atol=1e-4)
    face = projected(label, face_in_world())
    result = camera_from_landmarks(face * 300 + 40, exact=True)
    np.testing.assert_allclose(result, label, atol=0.02)


@pytest.mark.parametrize("crop_scale", [0.8, 1.0])
def test_the_face_fills_the_crop(crop_scale: float) -> None:
    face = projected(orbit(0.0)[0], face_in_world(crop_scale))
    eyes, mouth = face[[33, 133, 263, 362]].mean(axis=0), face[[61, 291]].mean(axis=0)
    # Upright, and in FFHQ's place: the crop's middle is 0.1 eye-to-mouth below the eyes.
    np.testing.assert_allclose(eyes + 0.1 * (mouth - eyes), (0.5, 0.5), atol=0.01)
    between = face[[263, 362], 0].mean() - face[[33, 133], 0].mean()
    reach = max(2.0 * between, 1.8 * (mouth - eyes)[1])
    assert reach * crop_scale == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (15, 0), (-25, 8), (35, -10), (-40, 15)])
def test_a_projection_is_inverted(yaw: float, pitch: float) -> None:
    label = orbit(yaw, pitch)[0]
    points = projected(label, face_in_world()) * 512 - 100
    whole = CropQuad(np.array([156.0, 156.0]), np.array([256.0, 0.0]))
    np.testing.assert_allclose(camera_from_landmarks(points, whole, exact=True), label, atol=1e-5)
    # An aligned crop stands upright and looks at the face, so its camera is turned a little against the picture's.
    result = camera_from_landmarks(points)
    np.testing.assert_allclose(camera_angles(result), camera_angles(label), atol=3.5)
    pose = result[:16].reshape(4, 4)
    assert np.linalg.norm(pose[:3, 3]) == pytest.approx(RADIUS)
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)


def test_mirrored_landmarks_give_the_mirrored_camera() -> None:
    label = orbit(22.0, -7.0)[0]
    points = projected(label, face_in_world()) * 200
    face = face_in_world()
    partner = np.linalg.norm(face[:, None] * [-1, 1, 1] - face[None], axis=2).argmin(axis=1)
    mirrored = (points * [-1, 1] + [200, 0])[partner]
    np.testing.assert_allclose(camera_from_landmarks(mirrored), mirror_camera(camera_from_landmarks(points)), atol=0.02)
    twice = mirror_camera(mirror_camera(label))
    np.testing.assert_allclose(twice, label)
    yaw, pitch = camera_angles(mirror_camera(label))
    assert (yaw, pitch) == pytest.approx((-camera_angles(label)[0], camera_angles(label)[1]))


def test_orbits_look_at_the_pivot_and_are_upright() -> None:
    for label in sample_cameras(20, np.random.default_rng(0), yaw=(-60, 60), pitch=(-20, 20)):
        pose = label[:16].reshape(4, 4)
        assert np.linalg.norm(pose[:3, 3]) == pytest.approx(RADIUS)
        towards = np.array([0, 0, 0.2]) - pose[:3, 3]
        np.testing.assert_allclose(pose[:3, 2], towards / np.linalg.norm(towards))
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
        assert pose[1, 0] == pytest.approx(0.0)
        assert pose[1, 1] < 0
        assert label[16] == FOCAL
    yaws = [camera_angles(label)[0] for label in orbit(np.linspace(-30, 30, 7))]
    assert yaws == sorted(yaws)
    assert yaws[0] == pytest.approx(-yaws[-1])


def test_bad_arguments_are_refused() -> None:
    for landmarks in (np.zeros((10, 2)), np.zeros((468, 4)), np.full((468, 2), np.nan)):
        with pytest.raises(UsageError, match="landmarks"):
            camera_from_landmarks(landmarks)
    with pytest.raises(UsageError, match="pitch"):
        orbit(0.0, 90.0)
    assert np.isfinite(camera_from_landmarks(np.zeros((468, 2)))).all()


def test_draped_photos_are_seen_from_where_they_were_drawn(models: FaceModels, face_a: Path, face_b: Path) -> None:
    errors, mirrored = [], []
    for path, cameras in ((face_a, orbit([-24, 12], [5, -8])), (face_b, orbit([-10, 20], [-6, 6]))):
        photo = Image.open(path).convert("RGB")
        mesh = drape(np.asarray(photo), landmarks_of(models, photo))
        for label in cameras:
            view = draw(mesh, label)
            result = camera_from_landmarks(landmarks_of(models, view))
            errors.append(np.subtract(camera_angles(result), camera_angles(label)))
        flipped = landmarks_of(models, view.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
        other = camera_angles(camera_from_landmarks(flipped))
        mirrored.append(np.subtract(other, camera_angles(mirror_camera(result))))
    assert (np.median(np.abs(errors), axis=0) < 3.0).all()
    assert (np.abs(mirrored) < 5.0).all()


@pytest.mark.slow
def test_agrees_with_the_data_set(models: FaceModels) -> None:
    archive = SHARED / "faces128.zip"
    if not archive.is_file():
        pytest.skip(f"{archive} is not here: the posed faces do not travel with the project")
    result, table = [], []
    with zipfile.ZipFile(archive) as files:
        for row in list(csv.DictReader(io.TextIOWrapper(files.open("meta.csv"), "utf-8")))[4::400]:
            image = Image.open(io.BytesIO(files.read(row["file"]))).convert("RGB")
            faces = detect_faces(models, np.asarray(image))
            if faces:
                result.append(camera_angles(camera_from_landmarks(find_mesh(models, image, faces[0]).points)))
                table.append((float(row["yaw"]), float(row["pitch"])))
    assert (np.median(np.abs(np.subtract(result, table)), axis=0) < (3.0, 4.0)).all()
    assert np.corrcoef(np.array(result)[:, 0], np.array(table)[:, 0])[0, 1] > 0.93


def test_six_numbers_tell_a_camera_also_in_half_precision() -> None:
    rng = np.random.default_rng(3)
    labels = [*sample_cameras(5, rng, yaw=(-60, 60), pitch=(-30, 30)), orbit(0.0)[0]]
    for label in labels:
        numbers = camera_numbers(label)
        assert numbers.shape == (6,)
        assert np.allclose(camera_label(numbers), label, atol=1e-6)
        assert np.allclose(camera_label(numbers.astype(np.float16)), label, atol=2e-3)
    with pytest.raises(UsageError, match="camera"):
        camera_numbers(np.zeros(24))
    with pytest.raises(UsageError, match="camera"):
        camera_label(np.zeros(5))
