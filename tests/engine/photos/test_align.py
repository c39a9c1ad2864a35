from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from everface.engine.photos.align import CropQuad, align_face, crop_quad, share_inside
from everface.engine.photos.landmarks import LEFT_EYE, MOUTH, RIGHT_EYE


def landmarks(left: tuple[float, float], right: tuple[float, float], mouth: tuple[float, float]) -> NDArray[np.float64]:
    """A mesh of which only the points that alignment reads are set."""
    points = np.full((468, 3), np.nan)
    for corners, centre in ((LEFT_EYE, left), (RIGHT_EYE, right), (MOUTH, mouth)):
        points[corners[0], :2] = np.add(centre, (-5.0, 1.0))
        points[corners[1], :2] = np.add(centre, (5.0, -1.0))
    return points


def upright(centre: tuple[float, float], side: float) -> CropQuad:
    return CropQuad(np.array(centre), np.array([side / 2, 0.0]))


def test_quad_of_an_upright_face() -> None:
    quad = crop_quad(landmarks((80, 100), (120, 100), (100, 150)), 0.8)
    np.testing.assert_allclose(quad.centre, (100, 105))  # 0.1 of 50 below the eyes
    np.testing.assert_allclose(quad.right, (0.8 * 1.8 * 50, 0), atol=1e-12)  # 1.8 x 50 > 2 x 40
    assert quad.side == pytest.approx(144)
    wide = crop_quad(landmarks((70, 100), (130, 100), (100, 150)), 1.0)
    assert wide.side == pytest.approx(2 * 2.0 * 60)


@given(angle=st.floats(-3.1, 3.1), scale=st.floats(0.2, 5), x=st.floats(-99, 99), y=st.floats(-99, 99))
def test_quad_follows_the_face(angle: float, scale: float, x: float, y: float) -> None:
    start = landmarks((80, 100), (120, 103), (98, 150))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = start.copy()
    moved[:, :2] = start[:, :2] @ turn.T + (x, y)
    before, after = crop_quad(start, 0.8), crop_quad(moved, 0.8)
    np.testing.assert_allclose(after.centre, turn @ before.centre + (x, y), atol=1e-6)
    np.testing.assert_allclose(after.right, turn @ before.right, atol=1e-6)


def test_crop_without_resampling_is_a_copy() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    np.testing.assert_array_equal(align_face(pixels, upright((40, 30), 32), 32), pixels[14:46, 24:56])


@pytest.mark.parametrize(("centre", "side"), [((2, 3), 40), ((88, 79), 40), ((45, 40), 200), ((-60, 300), 20)])
def test_border_is_mirrored_without_repeating_it(centre: tuple[int, int], side: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    got = align_face(pixels, upright(centre, side), side)
    padded = np.pad(pixels, ((400, 400), (400, 400), (0, 0)), mode="reflect")
    x, y = (int(c) + 400 - side // 2 for c in centre)
    np.testing.assert_array_equal(got, padded[y : y + side, x : x + side])


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 2)])
def test_tiny_photos(shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), 77, np.uint8)
    assert (align_face(pixels, upright((0.5, 0.5), 30), 16) == 77).all()


def test_quarter_turn() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    quad = CropQuad(np.array([32.0, 32.0]), np.array([0.0, 16.0]))  # right points down in the photo
    np.testing.assert_array_equal(align_face(pixels, quad, 32), np.rot90(pixels[16:48, 16:48], 1))


@pytest.mark.parametrize("factor", [2, 3, 5, 11, 40])
def test_shrinking_does_not_alias(factor: int) -> None:
    side = 32 * factor
    y, x = np.mgrid[: side + 20, : side + 20]
    checks = np.where((x + y) % 2, 255, 0).astype(np.uint8)[..., None].repeat(3, axis=2)
    got = align_face(checks, CropQuad(np.full(2, side / 2 + 10), np.array([side / 2, side / 40])), 32).astype(float)
    assert np.abs(got - 127.5).max() <= 12  # plain bilinear sampling would swing over the whole range


@pytest.mark.parametrize("side", [31.0, 64.0, 100.0, 777.0])
def test_a_ramp_stays_a_ramp(side: float) -> None:
    """Right position and scale, whatever the way of shrinking, to 1/150 of the side."""
    width = int(side * 1.3) + 10
    slope = 250 / (width - 1)
    pixels = np.rint(np.broadcast_to((np.arange(width) * slope)[None, :, None], (width, width, 3))).astype(np.uint8)
    middle = width / 2 + 0.3
    got = align_face(pixels, upright((middle, middle), side), 64)[:, :, 0].mean(axis=0)
    centres = middle + ((np.arange(64) + 0.5) / 64 - 0.5) * side
    error = got - (centres - 0.5) * slope
    assert np.abs(error).max() <= 2.0  # gray values: rounding at both ends
    assert abs(error.mean()) <= 0.6


def test_share_inside() -> None:
    points = landmarks((80, 100), (120, 100), (100, 150))
    assert share_inside(points, 300, 300) == 1.0
    assert share_inside(points, 100, 300) == pytest.approx(0.5, abs=0.03)
    assert share_inside(points, 20, 300) == 0.0


def test_arguments_are_left_alone() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    pixels.flags.writeable = False
    points = landmarks((20, 25), (40, 25), (30, 45))
    before = points.copy()
    align_face(pixels, crop_quad(points, 0.8), 64)
    np.testing.assert_array_equal(points, before)
