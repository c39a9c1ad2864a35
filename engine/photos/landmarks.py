"""The 468-point face mesh of a detected face, in the photo's pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from everface.engine.photos.detect import Detection
from everface.engine.photos.models import FaceModels

# Mesh indices: the corners of each eye and of the mouth. Left and right are the picture's, not the person's.
LEFT_EYE = (33, 133)
RIGHT_EYE = (263, 362)
MOUTH = (61, 291)
_CROP_SIDE = 192
_SURE = 0.99  # upright faces, even those cut by the border, nearly always reach this presence
_ENLARGE = 1.5  # the mesh network saw faces with this much room around the detector's box


@dataclass(frozen=True, eq=False)
class FaceMesh:
    """Landmarks of one face.

    Attributes:
        points: float64 [468, 3] in pixels of the photo: x right, y down, z away from the camera in the same unit, with
            an arbitrary origin.
        presence: probability in [0, 1] that there is a face.
    """

    points: NDArray[np.float64]
    presence: float


@dataclass(frozen=True, eq=False)
class _Region:
    """A square turned so that the face in it stands upright."""

    centre: NDArray[np.float64]
    side: float
    angle: float

    def matrix(self) -> NDArray[np.float64]:
        """[2, 2], from pixels of the mesh network's crop to pixels of the photo."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return np.array([[c, -s], [s, c]]) * (self.side / _CROP_SIDE)


def find_mesh(models: FaceModels, image: Image.Image, face: Detection) -> FaceMesh:
    """Fits the mesh twice: in the detector's box turned upright by the eyes, then in the mesh's own tighter box.

    Args:
        models: the loaded networks.
        image: RGB photo.
        face: where to look.
    """
    across = face.eyes[1] - face.eyes[0]
    start = _Region(face.centre, _ENLARGE * float(face.size.max()), float(np.arctan2(across[1], across[0])))
    first = _run(models, image, start)
    if first.presence < _SURE:
        # The detector takes some faces that stand on their head for upright ones.
        turned = _run(models, image, _Region(start.centre, start.side, start.angle + np.pi))
        first = max(first, turned, key=lambda mesh: mesh.presence)
    second = _run(models, image, _region_of(first.points))
    return second if second.presence >= 0.5 * first.presence else first


def _region_of(points: NDArray[np.float64]) -> _Region:
    across = points[RIGHT_EYE[0], :2] - points[LEFT_EYE[0], :2]
    angle = float(np.arctan2(across[1], across[0]))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    upright = points[:, :2] @ turn
    low, high = upright.min(axis=0), upright.max(axis=0)
    return _Region(turn @ ((low + high) / 2), _ENLARGE * max(1.0, float((high - low).max())), angle)


def _run(models: FaceModels, image: Image.Image, region: _Region) -> FaceMesh:
    matrix = region.matrix()
    offset = region.centre - matrix @ np.full(2, _CROP_SIDE / 2)
    crop, shrink = image, 1
    if region.side > 2 * _CROP_SIDE:
        # Sampling a large face at 192 pixels would alias: average whole blocks of its surroundings first.
        shrink = int(region.side // _CROP_SIDE)
        crop, corner = _surroundings(image, region, shrink)
        offset = (offset - corner) / shrink
    affine = np.column_stack((matrix / shrink, offset)).ravel()
    size = (_CROP_SIDE, _CROP_SIDE)
    sampled = crop.transform(size, Image.Transform.AFFINE, tuple(affine), Image.Resampling.BILINEAR)
    points, presence = models.run_mesh(np.asarray(sampled, np.float32) / 255.0)
    scale = region.side / _CROP_SIDE
    origin = region.centre - matrix @ np.full(2, _CROP_SIDE / 2)
    return FaceMesh(np.column_stack((points[:, :2] @ matrix.T + origin, points[:, 2] * scale)), presence)


def _surroundings(image: Image.Image, region: _Region, shrink: int) -> tuple[Image.Image, NDArray[np.float64]]:
    """The part of the picture that the turned square can touch, shrunk, and its corner in the photo."""
    reach = region.side * 0.75
    low = np.clip(np.floor(region.centre - reach), 0, np.array(image.size) - 1).astype(int)
    high = np.clip(np.ceil(region.centre + reach), low + 1, image.size).astype(int)
    part = image.reduce(shrink, box=(int(low[0]), int(low[1]), int(high[0]), int(high[1])))
    return part, low.astype(np.float64)
