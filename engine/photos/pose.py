"""Head pose from the face mesh: the rotation that best projects a mean face onto the landmarks."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from everface.engine.assets import asset_path
from everface.engine.photos.align import crop_quad

FOCAL = 3.1  # focal length over the side of the 0.8 crop: a portrait lens, since a photo's own is unknown
_STEPS = 8


@cache
def mean_face() -> NDArray[np.float64]:
    """[468, 3] symmetric mean face: x right, y down, z away; the outer eye corners are one unit apart."""
    mesh: NDArray[np.float64] = np.load(asset_path("mean_face_mesh.npy"), allow_pickle=False).astype(np.float64)
    mesh.flags.writeable = False
    return mesh


def head_pose(landmarks: NDArray[np.float64]) -> tuple[float, float]:
    """Yaw and pitch of a head, from the picture's plane alone (the mesh's own depth is less exact).

    Args:
        landmarks: [468, 2 or 3] face mesh in pixels (x right, y down).

    Returns:
        Degrees. Yaw is positive when the face looks towards the right of the picture, pitch when it looks up; both
        are 0 for a face that looks into the camera.
    """
    forward = -head_rotation(landmarks, mean_face())[:, 2]
    yaw = np.degrees(np.arctan2(forward[0], -forward[2]))
    pitch = np.degrees(np.arcsin(np.clip(-forward[1], -1.0, 1.0)))
    return float(yaw), float(pitch)


def head_rotation(landmarks: NDArray[np.float64], face: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotation [3, 3] that turns a model face into the head seen (column vectors: seen = rotation @ model).

    The points of the model are turned and moved by Gauss-Newton until their perspective projection fits.

    Args:
        landmarks: [468, 2 or 3] face mesh in pixels.
        face: [468, 3] centred model, x right, y down, z away from the camera.
    """
    quad = crop_quad(landmarks, 0.8)
    return fit_perspective((landmarks[:, :2] - quad.centre) / quad.side, face, FOCAL)[0]


def fit_perspective(
    seen: NDArray[np.float64], face: NDArray[np.float64], focal: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The pose in which a camera of known lens sees a model (perspective-n-point).

    Args:
        seen: [n, 2] image points about the optical axis, x right, y down, in units of the image's side.
        face: [n, 3] centred model, x right, y down, z away from the camera.
        focal: focal length in the image's side.

    Returns:
        rotation [3, 3] and shift [3]: the camera sees ``rotation @ point + shift``.
    """
    rotation, shift = _weak_perspective(seen, face, focal)
    return _refine(seen, face, focal, (rotation, shift))


def _weak_perspective(
    seen: NDArray[np.float64], face: NDArray[np.float64], focal: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Closed-form start: the best affine camera [3, 2], brought to the nearest rotation."""
    middle = seen.mean(axis=0)
    camera = np.linalg.lstsq(face, seen - middle, rcond=None)[0]
    u, s, vt = np.linalg.svd(camera, full_matrices=False)
    axes = u @ vt  # [3, 2], columns: the picture's x and y in the face's frame
    rotation = np.stack((axes[:, 0], axes[:, 1], np.cross(axes[:, 0], axes[:, 1])))
    depth = focal / max(float(s.mean()), 1e-6)
    return rotation, np.array([*(middle * depth / focal), depth])


def _refine(
    seen: NDArray[np.float64],
    face: NDArray[np.float64],
    focal: float,
    start: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gauss-Newton on the reprojection error, over a small turn (left-multiplied) and the shift."""
    rotation, shift = start
    for _ in range(_STEPS):
        turned = face @ rotation.T
        x, y, z = (turned + shift).T
        if z.min() < 0.1:
            break  # the start was hopeless (no face-like landmarks); keep it
        nought = np.zeros_like(z)
        du = np.stack((focal / z, nought, -focal * x / z**2), axis=1)
        dv = np.stack((nought, focal / z, -focal * y / z**2), axis=1)
        # d(turn x p) = p x d, so the derivative by the turn is the cross product of the point and the gradient.
        jacobian = np.concatenate([np.hstack((np.cross(turned, d), d)) for d in (du, dv)])
        residual = np.concatenate((seen[:, 0] - focal * x / z, seen[:, 1] - focal * y / z))
        step = np.linalg.lstsq(jacobian, residual, rcond=None)[0]
        rotation, shift = rotation_of(step[:3]) @ rotation, shift + step[3:]
        if float(np.abs(step).max()) < 1e-5:
            break
    return rotation, shift


def rotation_of(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rodrigues' formula: the rotation matrix of a rotation vector."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    turn: NDArray[np.float64] = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * (cross @ cross)
    return turn
