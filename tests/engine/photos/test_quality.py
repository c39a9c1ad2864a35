from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy.ndimage import uniform_filter1d

from everface.engine.config import PhotoConfig
from everface.engine.photos.detect import detect_faces
from everface.engine.photos.duplicates import SeenPhotos, hash_distance, perceptual_hash
from everface.engine.photos.landmarks import find_mesh
from everface.engine.photos.models import FaceModels
from everface.engine.photos.quality import sharpness


@pytest.fixture(scope="module")
def mesh(models: FaceModels, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    return find_mesh(models, Image.fromarray(pixels), detect_faces(models, pixels)[0]).points


def test_blur_lowers_sharpness(pixels: NDArray[np.uint8], mesh: NDArray[np.float64]) -> None:
    image = Image.fromarray(pixels)
    radii = (0, 2, 4, 6, 10)  # of a crop of 192 pixels
    values = [sharpness(np.asarray(image.filter(ImageFilter.GaussianBlur(r))), mesh) for r in radii]
    assert (np.diff(values) < -0.02).all()
    assert values[0] > 0.6 > PhotoConfig().min_sharpness > values[3]


def test_motion_in_one_direction_counts(pixels: NDArray[np.uint8], mesh: NDArray[np.float64]) -> None:
    for axis in (0, 1):
        moved = uniform_filter1d(pixels.astype(float), 25, axis=axis).astype(np.uint8)
        assert sharpness(moved, mesh) < PhotoConfig().min_sharpness + 0.03


@pytest.mark.parametrize("scale", [0.5, 2.0, 5.0])
def test_resolution_does_not_count(pixels: NDArray[np.uint8], mesh: NDArray[np.float64], scale: float) -> None:
    size = round(320 * scale)
    other = np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.LANCZOS))
    assert sharpness(other, mesh * scale) == pytest.approx(sharpness(pixels, mesh), abs=0.03)


def test_contrast_and_light_do_not_count(pixels: NDArray[np.uint8], mesh: NDArray[np.float64]) -> None:
    dim = (pixels * 0.4 + 30).astype(np.uint8)
    assert sharpness(dim, mesh) == pytest.approx(sharpness(pixels, mesh), abs=0.03)


def test_no_detail_is_no_sharpness(pixels: NDArray[np.uint8], mesh: NDArray[np.float64]) -> None:
    assert sharpness(np.full_like(pixels, 120), mesh) == 0.0


def test_perceptual_hash(pixels: NDArray[np.uint8]) -> None:
    crop = pixels[56:248, 64:256]
    code = perceptual_hash(crop)
    assert 0 <= code < 2**64
    assert code == perceptual_hash(crop.copy())
    brighter = np.clip(crop.astype(float) * 1.15 + 5, 0, 255).astype(np.uint8)
    smaller = np.asarray(Image.fromarray(crop).resize((64, 64), Image.Resampling.LANCZOS))
    assert hash_distance(code, perceptual_hash(brighter)) <= 4
    assert hash_distance(code, perceptual_hash(smaller)) <= 4
    assert hash_distance(code, perceptual_hash(np.ascontiguousarray(crop[:, ::-1]))) > 12
    assert 0 <= perceptual_hash(np.zeros((8, 8, 3), np.uint8)) < 2**64


def test_seen_photos() -> None:
    seen = SeenPhotos([("aa", 0b1111)], distance=2)
    seen.add("bb", 1 << 60, "b.jpg")
    assert seen.find_file("aa") == "a photo learned before"
    assert seen.find_file("bb") == "b.jpg"
    assert seen.find_file("cc") is None
    assert seen.find_similar(0b0011) == "a photo learned before"
    assert seen.find_similar(0b11110000) is None
    assert seen.find_similar((1 << 60) | 1) == "b.jpg"
