from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from everface.engine.assets import asset_path
from everface.engine.errors import EverfaceError
from everface.engine.photos.align import crop_quad
from everface.engine.photos.detect import detect_faces
from everface.engine.photos.landmarks import find_mesh
from everface.engine.photos.models import FaceModels

FACE_CENTRE, FACE_SIDE = np.array([160.0, 152.0]), 192.0


def quad_of(models: FaceModels, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float64], float, float]:
    """Centre, side and angle in degrees of the one face's crop."""
    faces = detect_faces(models, pixels)
    assert len(faces) == 1
    mesh = find_mesh(models, Image.fromarray(pixels), faces[0])
    assert mesh.presence > 0.95
    quad = crop_quad(mesh.points, 0.8)
    return quad.centre, quad.side, float(np.degrees(np.arctan2(quad.right[1], quad.right[0])))


def test_crop_is_where_the_face_was_laid(models: FaceModels, pixels: NDArray[np.uint8]) -> None:
    centre, side, angle = quad_of(models, pixels)
    np.testing.assert_allclose(centre, FACE_CENTRE, atol=0.02 * FACE_SIDE)
    assert side == pytest.approx(FACE_SIDE, rel=0.05)
    assert abs(angle) < 3


@pytest.mark.parametrize("angle", [-40, -15, 25, 60])
def test_turned_photos(models: FaceModels, pixels: NDArray[np.uint8], angle: int) -> None:
    turned = np.asarray(Image.fromarray(pixels).rotate(angle, Image.Resampling.BICUBIC))
    centre, side, result = quad_of(models, turned)
    assert (result + angle + 180) % 360 - 180 == pytest.approx(quad_of(models, pixels)[2], abs=4)
    assert side == pytest.approx(FACE_SIDE, rel=0.07)
    radians = np.radians(-angle)
    turn = np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
    np.testing.assert_allclose(centre, turn @ (FACE_CENTRE - 160) + 160, atol=0.04 * FACE_SIDE)


@pytest.mark.parametrize("scale", [0.4, 3.0, 9.0])
def test_other_resolutions(models: FaceModels, pixels: NDArray[np.uint8], scale: float) -> None:
    size = round(320 * scale)
    image = Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)
    centre, side, _ = quad_of(models, np.asarray(image))
    np.testing.assert_allclose(centre / scale, FACE_CENTRE, atol=0.02 * FACE_SIDE)
    assert side / scale == pytest.approx(FACE_SIDE, rel=0.05)


@pytest.mark.parametrize("size", [400, 160])
def test_small_face_in_a_large_photo(models: FaceModels, pixels: NDArray[np.uint8], size: int) -> None:
    canvas = np.full((1300, 2000, 3), (120, 130, 110), np.uint8)
    canvas[300 : 300 + size, 1500 : 1500 + size] = np.asarray(Image.fromarray(pixels).resize((size, size)))
    centre, side, _ = quad_of(models, canvas)
    np.testing.assert_allclose((centre - (1500, 300)) * 320 / size, FACE_CENTRE, atol=0.05 * FACE_SIDE)
    assert side * 320 / size == pytest.approx(FACE_SIDE, rel=0.1)


def test_two_faces(models: FaceModels, pixels: NDArray[np.uint8]) -> None:
    faces = detect_faces(models, np.concatenate((pixels, pixels[:, ::-1]), axis=1))
    assert sorted(round(float(face.centre[0]), -2) for face in faces) == [200.0, 500.0]


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1), (256, 256), (700, 900), (300, 3000)])
def test_nothing_in_noise_or_plain_colour(models: FaceModels, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert detect_faces(models, noise) == []
    assert detect_faces(models, np.full((*shape, 3), 90, np.uint8)) == []


def test_missing_asset_says_what_to_do() -> None:
    with pytest.raises(EverfaceError, match=r"nothing\.onnx.*install everface again"):
        asset_path("nothing.onnx")
    with pytest.raises(EverfaceError):
        asset_path("../errors.py")
