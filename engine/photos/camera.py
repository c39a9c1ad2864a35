"""The camera of an aligned crop, as EG3D's label of 25 numbers (Chan et al. 2022; its published pose conventions).

A label is the camera-to-world matrix [4, 4], row by row, in OpenCV's camera axes (x right, y down, z forward), then the
intrinsics [3, 3] normalised by the crop's side. The world has x to the right of the picture, y up, and the face looks
along +z: a camera at (0, 0, 2.7) sees it from the front. The published cameras of FFHQ stand 2.7 units from the origin,
which lies behind the face, inside of the head, and have a focal length of 2985.29 / 700 sides.

Yaw and pitch are those of ``everface.engine.photos.pose.head_pose``: yaw is positive when the face looks towards
the right of the picture (the camera then stands at negative x), pitch when it looks up (the camera stands below).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from everface.engine.errors import UsageError
from everface.engine.photos.align import CropQuad, crop_quad
from everface.engine.photos.landmarks import LEFT_EYE, MOUTH, RIGHT_EYE
from everface.engine.photos.pose import fit_perspective, mean_face, rotation_of

__all__ = [
    "FOCAL",
    "LABEL_DIM",
    "PIVOT",
    "RADIUS",
    "camera_angles",
    "camera_from_landmarks",
    "camera_label",
    "camera_numbers",
    "face_in_world",
    "mirror_camera",
    "orbit",
    "sample_cameras",
]

FOCAL = 2985.29 / 700
RADIUS = 2.7
LABEL_DIM = 25
PIVOT = (0.0, 0.0, 0.2)  # what the published orbits look at
_TO_WORLD = np.array([1.0, -1.0, -1.0])  # from the model's axes (y down, z away) to the world's (y up, z towards)
# The world's origin lies this far behind the middle of the face mesh, in widths between the outer eye corners: the
# published offset of 0.161 units over that width of about 0.243 units.
_BEHIND = 0.66


@dataclass(frozen=True, eq=False)
class _World:
    """Where the mean face is in the world: scale * axes * (point - origin)."""

    scale: float
    origin: NDArray[np.float64]


def _world(crop_scale: float) -> _World:
    """The frontal mean face fills an aligned crop of this scale when seen from the published distance."""
    face = mean_face()
    quad = crop_quad(face, crop_scale)
    # The crop is measured between eyes and mouth, which are this far from the middle of the mesh.
    front = float(np.mean([face[list(pair), 2].mean() for pair in (LEFT_EYE, RIGHT_EYE, MOUTH)]))
    scale = RADIUS / (FOCAL * quad.side + _BEHIND - front)
    return _World(scale, np.array([*quad.centre, _BEHIND]))


def face_in_world(crop_scale: float = 0.8) -> NDArray[np.float64]:
    """The mean face mesh [468, 3] in world units: x right, y up, z towards a frontal camera."""
    world = _world(crop_scale)
    placed: NDArray[np.float64] = (mean_face() - world.origin) * world.scale * _TO_WORLD
    return placed


def camera_from_landmarks(
    landmarks: NDArray[np.float64],
    quad: CropQuad | None = None,
    *,
    crop_scale: float = 0.8,
    exact: bool = False,
) -> NDArray[np.float64]:
    """The camera [25] that sees the mean face where the landmarks are in an aligned crop.

    Args:
        landmarks: [468, 2 or 3] face mesh in pixels of the photo (x right, y down).
        quad: the crop; the landmarks' own by default.
        crop_scale: of the crop, which sets the size of the face in the world.
        exact: keep the distance that fits best; by default the camera is moved to the published distance from the
            origin, in the same direction, as the published cameras were.

    Raises:
        UsageError: not 468 landmarks, or not finite.
    """
    if landmarks.ndim != 2 or landmarks.shape[0] != len(mean_face()) or landmarks.shape[1] not in (2, 3):
        raise UsageError("landmarks", expected="[468, 2 or 3]", found=str(landmarks.shape), remedy="pass find_mesh's")
    if not np.isfinite(landmarks).all():
        raise UsageError("landmarks", expected="finite pixels", found="NaN or infinity", remedy="detect them again")
    quad = crop_quad(landmarks, crop_scale) if quad is None else quad
    axes = np.stack((quad.right, quad.down), axis=1) / (2 * (quad.right @ quad.right))
    rotation, shift = fit_perspective((landmarks[:, :2] - quad.centre) @ axes, mean_face(), FOCAL)
    world = _world(crop_scale)
    turn = _TO_WORLD[:, None] * rotation.T  # camera to world
    position = -turn @ (world.scale * (rotation @ world.origin + shift))
    if not exact:
        position *= RADIUS / max(float(np.linalg.norm(position)), 1e-9)
    return _label(turn, position)


def camera_angles(label: NDArray[np.float64]) -> tuple[float, float]:
    """Yaw and pitch in degrees of the head that a camera [25] sees."""
    forward = label[:16].reshape(4, 4)[2, :3]  # the world's z axis as the camera sees it
    yaw = np.degrees(np.arctan2(forward[0], -forward[2]))
    pitch = np.degrees(np.arcsin(np.clip(-forward[1], -1.0, 1.0)))
    return float(yaw), float(pitch)


def mirror_camera(label: NDArray[np.float64]) -> NDArray[np.float64]:
    """The camera [25] of the mirrored picture."""
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    pose, lens = label[:16].reshape(4, 4), label[16:].reshape(3, 3).copy()
    lens[0, 2] = 1.0 - lens[0, 2]
    lens[0, 1] = -lens[0, 1]
    return np.concatenate(((flip @ pose @ flip).ravel(), lens.ravel()))


def camera_numbers(label: NDArray[np.floating]) -> NDArray[np.float32]:
    """What a camera [25] of the published lens is in six numbers: rotation vector [3] from the frontal camera's axes,
    and position [3]. In float16 they are exact to 0.03 degrees and a thousandth of the distance.

    Raises:
        UsageError: not such a label.
    """
    if np.shape(label) != (LABEL_DIM,) or not np.isfinite(label).all():
        raise UsageError("camera", expected=f"[{LABEL_DIM}] finite numbers", found=str(np.shape(label)))
    pose = np.asarray(label, np.float64)[:16].reshape(4, 4)
    turn = pose[:3, :3] * _TO_WORLD  # R F with F = F^-1, the frontal camera's axes
    cosine = np.clip((np.trace(turn) - 1) / 2, -1.0, 1.0)
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    length = float(np.linalg.norm(axis))
    vector = axis * (float(np.arccos(cosine)) / length) if length > 1e-9 else np.zeros(3)
    return np.concatenate((vector, pose[:3, 3])).astype(np.float32)


def camera_label(numbers: NDArray[np.floating]) -> NDArray[np.float64]:
    """The camera [25] of ``camera_numbers``."""
    if np.shape(numbers) != (6,):
        raise UsageError("camera", expected="[6] numbers", found=str(np.shape(numbers)))
    vector, position = np.split(np.asarray(numbers, np.float64), 2)
    return _label(rotation_of(vector) * _TO_WORLD, position)


def orbit(
    yaw: ArrayLike, pitch: ArrayLike = 0.0, *, radius: float = RADIUS, pivot: ArrayLike = PIVOT
) -> NDArray[np.float64]:
    """Cameras [n, 25] on a sphere around the origin that look at a pivot, upright.

    Args:
        yaw, pitch: degrees that the head shall seem turned, [n] each or one number.
        radius: of the sphere.
        pivot: [3], in world units.
    """
    yaws, pitches = (np.atleast_1d(np.radians(np.asarray(angle, dtype=np.float64))) for angle in (yaw, pitch))
    yaws, pitches = np.broadcast_arrays(yaws, pitches)
    if yaws.ndim != 1 or not (np.isfinite(yaws).all() and (np.abs(pitches) < np.pi / 2).all()):
        raise UsageError("yaw, pitch", expected="degrees, pitch within 90", found=f"{yaw!r}, {pitch!r}"[:80])
    labels = []
    for a, b in zip(yaws, pitches, strict=True):
        position = radius * np.array([-np.sin(a) * np.cos(b), -np.sin(b), np.cos(a) * np.cos(b)])
        forward = np.asarray(pivot, dtype=np.float64) - position
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 1.0, 0.0])
        right /= np.linalg.norm(right)
        labels.append(_label(np.stack((right, np.cross(forward, right), forward), axis=1), position))
    return np.stack(labels)


def sample_cameras(
    n: int,
    rng: np.random.Generator,
    *,
    yaw: tuple[float, float] = (-30.0, 30.0),
    pitch: tuple[float, float] = (-10.0, 10.0),
) -> NDArray[np.float64]:
    """Random cameras [n, 25] of an orbit, uniform in yaw and pitch (degrees, lowest and highest)."""
    return orbit(rng.uniform(*yaw, n), rng.uniform(*pitch, n))


def _label(turn: NDArray[np.float64], position: NDArray[np.float64]) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn, position
    lens = np.array([[FOCAL, 0.0, 0.5], [0.0, FOCAL, 0.5], [0.0, 0.0, 1.0]])
    return np.concatenate((pose.ravel(), lens.ravel()))
