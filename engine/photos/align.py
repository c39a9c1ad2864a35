"""FFHQ-style alignment (Karras et al. 2019, arXiv 1812.04948, appendix A): a square, upright crop of one face."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from everface.engine.photos.landmarks import LEFT_EYE, MOUTH, RIGHT_EYE

_MAX_OVERSAMPLING = 4


@dataclass(frozen=True, eq=False)
class CropQuad:
    """An oriented square in a photo.

    Attributes:
        centre: float64 [2] in pixels.
        right: float64 [2], from the centre to the middle of the right side.
    """

    centre: NDArray[np.float64]
    right: NDArray[np.float64]

    @property
    def down(self) -> NDArray[np.float64]:
        """From the centre to the middle of the lower side."""
        return np.array([-self.right[1], self.right[0]])

    @property
    def side(self) -> float:
        """Length of a side in pixels."""
        return 2.0 * float(np.hypot(*self.right))


def crop_quad(landmarks: NDArray[np.float64], crop_scale: float) -> CropQuad:
    """The crop of a face.

    Half a side is ``crop_scale * max(2.0 * eye_to_eye, 1.8 * eye_to_mouth)``, the centre lies 0.1 eye-to-mouth below
    the middle of the eyes, and the direction is the mean of the eyes' line and the normal of the face's axis.

    Args:
        landmarks: [468, 2 or 3], the face mesh in pixels.
        crop_scale: 1.0 for FFHQ's own framing; smaller is tighter.
    """
    xy = landmarks[:, :2]
    left, right, mouth = (xy[list(corners)].mean(axis=0) for corners in (LEFT_EYE, RIGHT_EYE, MOUTH))
    eyes = (left + right) / 2
    eye_to_eye, eye_to_mouth = right - left, mouth - eyes
    direction = eye_to_eye + np.array([eye_to_mouth[1], -eye_to_mouth[0]])
    length = float(np.hypot(*direction))
    direction = direction / length if length > 1e-9 else np.array([1.0, 0.0])
    half = crop_scale * max(2.0 * float(np.hypot(*eye_to_eye)), 1.8 * float(np.hypot(*eye_to_mouth)))
    return CropQuad(eyes + 0.1 * eye_to_mouth, direction * max(half, 1.0))


def share_inside(landmarks: NDArray[np.float64], width: int, height: int) -> float:
    """Share of a face's oval that lies inside a picture of this size, in [0, 1].

    The mesh's own points will not do: the network squeezes them into what it sees of a face cut by the border.
    """
    quad = crop_quad(landmarks, 0.8)
    line = np.linspace(-1.0, 1.0, 33)
    x, y = np.tile(line, 33), np.repeat(line, 33)
    keep = x**2 + y**2 <= 1.0
    oval = quad.centre + 0.62 * np.outer(x[keep], quad.right) + 0.75 * np.outer(y[keep], quad.down)
    return float(np.mean(((oval >= 0.0) & (oval <= (width, height))).all(axis=1)))


def align_face(pixels: NDArray[np.uint8], quad: CropQuad, resolution: int) -> NDArray[np.uint8]:
    """Resamples a crop to a square picture, without aliasing; outside the photo it is mirrored (reflect-101).

    Args:
        pixels: uint8 [height, width, 3].
        quad: the crop.
        resolution: side of the result.

    Returns:
        uint8 [resolution, resolution, 3].
    """
    region, corner = _reflected_region(pixels, quad)
    image = Image.fromarray(region)
    centre, right, down = quad.centre - corner, quad.right, quad.down
    # Shrink first by whole pixels, so that the turned sampling below stays near one source pixel a sample.
    shrink = max(1, int(quad.side // (_MAX_OVERSAMPLING * resolution)))
    if shrink > 1:
        image = image.reduce(shrink)
        centre, right, down = centre / shrink, right / shrink, down / shrink
    finer = resolution * min(_MAX_OVERSAMPLING, max(1, math.ceil(quad.side / shrink / resolution)))
    origin = centre - right - down
    columns = np.column_stack((right, down)) * (2.0 / finer)
    affine = tuple(np.column_stack((columns, origin)).ravel())
    sampled = image.transform((finer, finer), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
    if finer != resolution:
        sampled = sampled.resize((resolution, resolution), Image.Resampling.LANCZOS)
    return np.array(sampled, dtype=np.uint8)


def _reflected_region(pixels: NDArray[np.uint8], quad: CropQuad) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The upright rectangle around a crop, with a margin for the filters, and its corner in the photo."""
    reach = np.abs(quad.right) + np.abs(quad.down) + 4.0
    low = np.floor(quad.centre - reach).astype(int)
    high = np.ceil(quad.centre + reach).astype(int)
    columns = _reflect(np.arange(low[0], high[0]), pixels.shape[1])
    rows = _reflect(np.arange(low[1], high[1]), pixels.shape[0])
    return np.ascontiguousarray(pixels[rows[:, None], columns[None]]), low.astype(np.float64)


def _reflect(index: NDArray[np.int_], length: int) -> NDArray[np.int_]:
    """Mirrors indices into 0..length-1 without repeating the border (reflect-101), however far outside they are."""
    if length == 1:
        return np.zeros_like(index)
    period = 2 * (length - 1)
    folded: NDArray[np.int_] = np.minimum(index % period, -index % period)
    return folded
