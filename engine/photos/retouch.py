"""The picture that an edit aims at: head and mouth moved by the face mesh, light changed on the pixels.

It says where everything shall be, and no more: what comes into sight, teeth and shadows are the generator's to know, so
the edit searches for the face whose picture is nearest to this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from everface.engine.assets import asset_path
from everface.engine.photos.align import crop_quad
from everface.engine.photos.attributes import DEVIATIONS
from everface.engine.photos.pose import FOCAL, fit_perspective, mean_face, rotation_of
from everface.engine.photos.warp import plate, sampled, source_of

_AXIS = np.array([0.0, 0.0, 0.66])  # the head turns about this point of the mean face, as in ``.camera``
_OUTLINE = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
    136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
_HEAD = 1.45  # the head's silhouette over the mesh's outline
_SAMPLE = 4  # every fourth point of the mesh says enough for a turning head
# Smoothing of the plates: what a turn hides would fold up in one that gives way, and lips must move by themselves.
_STIFF, _SUPPLE = 0.01, 3e-4
_BY_MESH = ("pose", "pitch", "smile", "eyes")


@cache
def face_moves() -> dict[str, NDArray[np.float64]]:
    """[468, 2] each: how the points of the mean face move for one deviation of smile and of the eyes' opening."""
    moves = np.load(asset_path("face_moves.npy"), allow_pickle=False).astype(np.float64)
    moves.flags.writeable = False
    return dict(zip(("smile", "eyes"), moves, strict=True))


def retouched(
    picture: NDArray[np.uint8], points: NDArray[np.float64], amounts: Mapping[str, float]
) -> NDArray[np.float32]:
    """A picture as it would be if its face were changed.

    Args:
        picture: aligned, uint8 [r, r, 3].
        points: [468, 2 or 3] its face mesh in pixels.
        amounts: by the names of ``attributes.UNITS`` and in their units; what is not named stays.

    Returns:
        float32 [r, r, 3] in [-1, 1].
    """
    head = _Head(points)
    values = picture.astype(np.float64)
    if any(amounts.get(name) for name in _BY_MESH):
        values = sampled(values, source_of(head.displacement(amounts, len(picture))))
    if light := amounts.get("light", 0.0):
        # (right - left) / (right + left) grows by about the gain's exponent on either side.
        values = values * np.exp(light * DEVIATIONS["light"] * head.sides(len(picture)))
    if brightness := amounts.get("brightness", 0.0):
        values = _exposed(values, brightness)
    return np.asarray(np.clip(values / 127.5 - 1, -1, 1), np.float32)


class _Head:
    """A mean face fitted to the points, with the head's silhouette around it."""

    def __init__(self, points: NDArray[np.float64]) -> None:
        self.quad, self.points = crop_quad(points, 0.8), points[:, :2]
        seen = (self.points - self.quad.centre) / self.quad.side
        self.rotation, self.shift = fit_perspective(seen, mean_face(), FOCAL)

    def displacement(self, amounts: Mapping[str, float], side: int) -> NDArray[np.float64]:
        """How far each pixel goes, [side, side, 2]; eyes and mouth stay in the middle of the crop."""
        total = np.zeros((side, side, 2))
        before = self._seen(mean_face(), self.rotation)
        # The points that were found, where there are some: they fit this face, and the mean face does not quite.
        places = np.concatenate([self.points, before[len(self.points) :]])
        if amounts.get("pose") or amounts.get("pitch"):
            after = self._seen(mean_face(), self._turned(amounts.get("pose", 0.0), amounts.get("pitch", 0.0)))
            centres = [crop_quad(points[: len(self.points)], 0.8).centre for points in (before, after)]
            chosen = [*range(0, len(self.points), _SAMPLE), *_OUTLINE, *range(len(self.points), len(places))]
            moves = after - before - (centres[1] - centres[0])
            total += plate(places[chosen], moves[chosen], side, _STIFF)
        if any(amounts.get(name) for name in face_moves()):
            face = mean_face().copy()
            for name, move in face_moves().items():
                face[:, :2] += amounts.get(name, 0.0) * move
            total += plate(places, self._seen(face, self.rotation) - before, side, _SUPPLE)
        return total

    def _turned(self, yaw: float, pitch: float) -> NDArray[np.float64]:
        """The rotation of the head, turned by so many degrees."""
        level = np.cross(-self.rotation[:, 2], (0.0, 1.0, 0.0))
        raised = rotation_of(-np.radians(pitch) * level / np.linalg.norm(level))
        return np.asarray(rotation_of(np.array([0.0, -np.radians(yaw), 0.0])) @ raised @ self.rotation)

    def sides(self, side: int) -> NDArray[np.float64]:
        """How far to the right light falls on the face, about -1 to 1, and 0 at the border, [side, side, 1]."""
        across = mean_face()[:, 0] / np.abs(mean_face()[:, 0]).max()
        return plate(self.points[::_SAMPLE], 2 * across[::_SAMPLE, None], side, _STIFF)

    def _seen(self, face: NDArray[np.float64], rotation: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels of a face [468, 3] and of the silhouette around it under a rotation about the head's axis."""
        outline = face[list(_OUTLINE)]
        middle = outline.mean(axis=0)
        silhouette = middle + (outline - middle) * _HEAD
        silhouette[:, 2] = _AXIS[2]
        solid = np.concatenate([face, silhouette])
        seen = (solid - _AXIS) @ rotation.T + self.rotation @ _AXIS + self.shift
        return np.asarray(seen[:, :2] / seen[:, 2:] * (FOCAL * self.quad.side) + self.quad.centre)


def _exposed(values: NDArray[np.float64], levels: float) -> NDArray[np.float64]:
    """Brighter by about so many grey levels in the mean, without clipping: a gamma curve."""
    mean = float(np.clip(values.mean(), 1, 254)) / 255
    wanted = float(np.clip(mean + levels / 255, 0.02, 0.98))
    return np.asarray(255 * (values / 255) ** (np.log(wanted) / np.log(mean)))
