"""What an edit changes, measured on a picture: pose and expression by the face mesh, light by luma.

A deviation is the standard deviation of one quantity over 3,496 faces of photos (Labeled Faces in the Wild, FFHQ,
SCUT-FBP5500 and others, within 30 degrees of yaw; ``tools/make_face_moves.py``): a unit means the same for every base
and person.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from everface.engine.photos.detect import detect_faces
from everface.engine.photos.landmarks import LEFT_EYE, MOUTH, RIGHT_EYE, find_mesh
from everface.engine.photos.models import FaceModels
from everface.engine.photos.pose import head_pose
from everface.engine.photos.quality import luma

_SIDE = 256
_PRESENT = 0.8
_LIPS, _LIDS = (0, 17), ((159, 145), (386, 374))
UNITS = MappingProxyType(
    {
        "pose": "degrees of yaw",
        "pitch": "degrees of pitch",
        "smile": "deviations of mouth shape",
        "eyes": "deviations of the eyes' opening",
        "light": "deviations of brightness between the halves of the face",
        "brightness": "grey levels of 255",
    }
)
DEVIATIONS = MappingProxyType({"smile": 0.196, "eyes": 0.0164, "light": 0.0954})
"""One unit of a quantity in what ``mouth_shape``, ``eye_opening`` and the halves' contrast give; 1 for the others."""


@dataclass(frozen=True, eq=False)
class FaceAttributes:
    """A face in a picture.

    Attributes:
        points: [468, 3] face mesh in pixels of the picture.
        values: by the names of ``UNITS`` and in their units.
    """

    points: NDArray[np.float64]
    values: dict[str, float]


def face_attributes(models: FaceModels, image: NDArray[np.uint8]) -> FaceAttributes | None:
    """Measures an aligned picture uint8 [r, r, 3]; None where no face is found."""
    large = Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    pixels = np.asarray(large)
    faces = detect_faces(models, pixels)
    if not faces:
        return None
    mesh = find_mesh(models, large, max(faces, key=lambda face: float(face.size.max())))
    if mesh.presence < _PRESENT:
        return None
    yaw, pitch = head_pose(mesh.points)
    gray, flat = luma(pixels), mesh.points[:, :2]
    raw = {
        "pose": yaw,
        "pitch": pitch,
        "smile": mouth_shape(flat),
        "eyes": eye_opening(flat),
        "light": halves_contrast(gray, flat),
        "brightness": float(gray[64:208, 64:192].mean()),
    }
    values = {name: value / DEVIATIONS.get(name, 1.0) for name, value in raw.items()}
    return FaceAttributes(mesh.points * (len(image) / _SIDE), values)


def mouth_shape(points: NDArray[np.float64]) -> float:
    """Width of the mouth plus twice the lift of its corners, in distances between the eyes; points [468, 2]."""
    corners, lips = points[list(MOUTH)], points[list(_LIPS)]
    lift = float(lips[:, 1].mean() - corners[:, 1].mean())
    return (float(np.linalg.norm(corners[0] - corners[1])) + 2 * lift) / _between_eyes(points)


def eye_opening(points: NDArray[np.float64]) -> float:
    """Mean distance between the lids, in distances between the eyes; points [468, 2]."""
    gaps = [float(np.linalg.norm(points[upper] - points[lower])) for upper, lower in _LIDS]
    return sum(gaps) / 2 / _between_eyes(points)


def halves_contrast(gray: NDArray[np.float64], points: NDArray[np.float64]) -> float:
    """How much brighter the right half of the face is, over the sum of both, of luma [256, 256]."""
    middle = int(np.clip(points[:, 0].mean(), 64, _SIDE - 64))
    left, right = gray[96:192, middle - 56 : middle - 8].mean(), gray[96:192, middle + 8 : middle + 56].mean()
    return float((right - left) / (right + left + 1))


def _between_eyes(points: NDArray[np.float64]) -> float:
    eyes = (points[list(pair)].mean(axis=0) for pair in (LEFT_EYE, RIGHT_EYE))
    return float(np.linalg.norm(np.subtract(*eyes)))
