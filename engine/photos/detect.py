"""Face detection (BlazeFace, Bazarevsky et al. 2019, arXiv 1907.05047): boxes and six points in a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from everface.engine.photos.models import FaceModels

_MIN_SCORE = 0.5
_SAME_FACE_IOU = 0.3
_MAX_FACES = 32  # of a crowd, the surest
_TILE_OVERLAP = 0.5
_MIN_TILE = 256  # smaller tiles would only be enlarged

RawDetector = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]


@dataclass(frozen=True, eq=False)
class Detection:
    """One face found.

    Attributes:
        centre: float64 [2], centre of the box, in pixels (x right, y down; a pixel's own centre is at + 0.5).
        size: float64 [2], width and height of the box in pixels.
        eyes: float64 [2, 2], the two eyes, the one at the left of an upright picture first.
        score: probability in [0.5, 1].
    """

    centre: NDArray[np.float64]
    size: NDArray[np.float64]
    eyes: NDArray[np.float64]
    score: float


def _anchors(*layers: tuple[int, int]) -> NDArray[np.float64]:
    """Cell centres in [0, 1], row by row; a layer is (cells per side, anchors per cell)."""
    parts = []
    for cells, repeats in layers:
        line = (np.arange(cells) + 0.5) / cells
        grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
        parts.append(np.repeat(grid, repeats, axis=0))
    return np.concatenate(parts)


_BACK_SIDE, _BACK_ANCHORS = 256, _anchors((16, 2), (8, 6))
_FULL_SIDE, _FULL_ANCHORS = 192, _anchors((48, 1))


def detect_faces(models: FaceModels, pixels: NDArray[np.uint8]) -> list[Detection]:
    """Finds faces, the surest first.

    The back-camera detector looks first; the full-range one where that finds nothing; then the full-range one again on
    overlapping tiles of half the picture's longer side, for small faces in large pictures.

    Args:
        models: the loaded networks.
        pixels: uint8 [height, width, 3] RGB.
    """
    image = Image.fromarray(pixels)
    whole = (0, 0, max(image.size))
    faces = _detect_square(models.run_back, _BACK_ANCHORS, _BACK_SIDE, image, _centred(image, whole[2]))
    if not faces:
        faces = _full_range(models, image, _centred(image, whole[2]))
    if not faces:
        for tile in _tiles(image):
            faces += _full_range(models, image, tile)
    return _merge(faces)[:_MAX_FACES]


def _full_range(models: FaceModels, image: Image.Image, square: tuple[int, int, int]) -> list[Detection]:
    return _detect_square(models.run_full_range, _FULL_ANCHORS, _FULL_SIDE, image, square)


def _centred(image: Image.Image, side: int) -> tuple[int, int, int]:
    return ((image.width - side) // 2, (image.height - side) // 2, side)


def _tiles(image: Image.Image) -> list[tuple[int, int, int]]:
    """Overlapping squares (left, top, side) that cover the picture."""
    side = max(image.size) // 2
    if side < _MIN_TILE:
        return []
    step = max(1, int(side * (1 - _TILE_OVERLAP)))
    lefts = range(0, max(1, image.width - side + step), step)
    tops = range(0, max(1, image.height - side + step), step)
    return [(left, top, side) for top in tops for left in lefts]


def _detect_square(
    detector: RawDetector, anchors: NDArray[np.float64], side: int, image: Image.Image, square: tuple[int, int, int]
) -> list[Detection]:
    """Runs a detector on a square of the picture; what lies outside the picture is black, as in its training."""
    left, top, extent = square
    boxes, logits = detector(_letterbox(image, square, side))
    scores = 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float64), -60.0, 60.0)))
    keep = np.flatnonzero(scores >= _MIN_SCORE)
    if not len(keep):
        return []
    points = boxes[keep].reshape(-1, 8, 2).astype(np.float64) / side  # centre, size, then six points
    points[:, [0, 2, 3, 4, 5, 6, 7]] += anchors[keep][:, None]
    points *= extent
    points[:, [0, 2, 3, 4, 5, 6, 7]] += (left, top)
    faces = [Detection(p[0], p[1], p[2:4], float(s)) for p, s in zip(points, scores[keep], strict=True)]
    return _merge([d for d in faces if np.isfinite(d.eyes).all() and d.size.min() > 1.0])


def _letterbox(image: Image.Image, square: tuple[int, int, int], side: int) -> NDArray[np.float32]:
    left, top, extent = square
    right, bottom = min(image.width, left + extent), min(image.height, top + extent)
    inner = (max(0, left), max(0, top), right, bottom)
    scale = side / extent
    size = (max(1, round((inner[2] - inner[0]) * scale)), max(1, round((inner[3] - inner[1]) * scale)))
    shrunk = image.resize(size, Image.Resampling.BILINEAR, box=inner, reducing_gap=2.0)
    canvas = Image.new("RGB", (side, side))
    canvas.paste(shrunk, (round((inner[0] - left) * scale), round((inner[1] - top) * scale)))
    return np.asarray(canvas, np.float32) / 127.5 - 1.0


def _merge(faces: list[Detection]) -> list[Detection]:
    """Weighted non-maximum suppression: overlapping boxes become their mean, weighted by score."""
    rest = sorted(faces, key=lambda d: -d.score)
    merged = []
    while rest:
        same = [d for d in rest if _iou(rest[0], d) > _SAME_FACE_IOU] or rest[:1]
        weights = np.array([d.score for d in same]) / sum(d.score for d in same)
        centre = np.tensordot(weights, np.stack([d.centre for d in same]), 1)
        size = np.tensordot(weights, np.stack([d.size for d in same]), 1)
        eyes = np.tensordot(weights, np.stack([d.eyes for d in same]), 1)
        merged.append(Detection(centre, size, eyes, rest[0].score))
        taken = {id(d) for d in same}
        rest = [d for d in rest if id(d) not in taken]
    return merged


def _iou(a: Detection, b: Detection) -> float:
    low = np.maximum(a.centre - a.size / 2, b.centre - b.size / 2)
    high = np.minimum(a.centre + a.size / 2, b.centre + b.size / 2)
    common = float(np.prod(np.clip(high - low, 0.0, None)))
    return common / float(np.prod(a.size) + np.prod(b.size) - common)
