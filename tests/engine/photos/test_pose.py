from __future__ import annotations

import csv
import io
import zipfile

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from everface.engine.assets import asset_path
from everface.engine.photos.align import crop_quad
from everface.engine.photos.detect import detect_faces
from everface.engine.photos.landmarks import find_mesh
from everface.engine.photos.models import FaceModels
from everface.engine.photos.pose import head_pose

from .conftest import SHARED


def projected(yaw: float, pitch: float, roll: float, distance: float) -> NDArray[np.float64]:
    """The mean face looking right by yaw and up by pitch, as a camera sees it; [468, 2] in pixels."""
    face = np.load(asset_path("mean_face_mesh.npy")).astype(np.float64)
    # The crop's middle is on the camera's axis: a face seen from above or below looks pitched.
    face[:, :2] -= crop_quad(face, 0.8).centre
    a, b, c = np.radians((yaw, pitch, roll))
    # The face looks along -z. Up (towards -y) is a turn about x, then right (towards +x) one about y.
    up = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    right = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    tilt = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    seen = face @ (tilt @ right @ up).T + (0, 0, distance)
    image: NDArray[np.float64] = 300.0 * seen[:, :2] / seen[:, 2:] + (412, 199)
    return image


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (20, 0), (-35, 0), (0, 15), (0, -25), (30, 20), (-45, -15)])
def test_known_turns(yaw: float, pitch: float) -> None:
    got = head_pose(projected(yaw, pitch, 0, distance=6.0))
    np.testing.assert_allclose(got, (yaw, pitch), atol=2.0)


@pytest.mark.parametrize("distance", [4.0, 20.0])
def test_unknown_lens_costs_little(distance: float) -> None:
    np.testing.assert_allclose(head_pose(projected(25, 10, 0, distance)), (25, 10), atol=4.0)


def test_mirroring_turns_the_other_way(models: FaceModels, pixels: NDArray[np.uint8]) -> None:
    poses = []
    for image in (pixels, np.ascontiguousarray(pixels[:, ::-1])):
        mesh = find_mesh(models, Image.fromarray(image), detect_faces(models, image)[0])
        poses.append(head_pose(mesh.points))
    assert poses[0][0] == pytest.approx(-poses[1][0], abs=4)
    assert poses[0][1] == pytest.approx(poses[1][1], abs=3)


def test_degenerate_landmarks_give_numbers() -> None:
    assert np.isfinite(head_pose(np.zeros((468, 3)))).all()
    assert np.isfinite(head_pose(np.random.default_rng(0).normal(size=(468, 3)))).all()


def test_agrees_with_the_data_set(models: FaceModels) -> None:
    archive = SHARED / "faces128.zip"
    if not archive.is_file():
        pytest.skip(f"{archive} is not here: the posed faces do not travel with the project")
    ours, theirs = [], []
    with zipfile.ZipFile(archive) as files:
        rows = list(csv.DictReader(io.TextIOWrapper(files.open("meta.csv"), "utf-8")))[4::500]
        for row in rows:
            image = Image.open(io.BytesIO(files.read(row["file"]))).convert("RGB")
            faces = detect_faces(models, np.asarray(image))
            if faces:
                ours.append(head_pose(find_mesh(models, image, faces[0]).points))
                theirs.append((float(row["yaw"]), float(row["pitch"])))
    mine, table = np.array(ours), np.array(theirs)
    assert len(mine) >= 0.95 * len(rows)
    assert np.corrcoef(mine[:, 0], table[:, 0])[0, 1] > 0.93
    assert np.corrcoef(mine[:, 1], table[:, 1])[0, 1] > 0.75
    assert (np.median(np.abs(mine - table), axis=0) < (3.0, 4.0)).all()
