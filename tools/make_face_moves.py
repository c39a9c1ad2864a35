"""Makes engine/assets/face_moves.npy from photos: python tools/make_face_moves.py OUT.npy FACES.zip...

The archives hold aligned faces. Each face's mesh is fitted by the mean face, and what is left over, in the face's own
plane, is regressed on pose, mouth shape and eye opening. The file says how the 468 points move for one deviation of
smile and of the eyes, [2, 468, 2], symmetric; the deviations are printed.
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from everface.engine.photos.align import crop_quad
from everface.engine.photos.attributes import eye_opening, halves_contrast, mouth_shape
from everface.engine.photos.detect import detect_faces
from everface.engine.photos.landmarks import find_mesh
from everface.engine.photos.models import FaceModels
from everface.engine.photos.pose import FOCAL, fit_perspective, head_pose, mean_face
from everface.engine.photos.quality import luma

SIDE, MOST = 256, 1800
MOST_YAW, MOST_PITCH = 30.0, 20.0


def meshes(archives: list[str]) -> Iterator[tuple[NDArray[np.float64], float]]:
    """Meshes [468, 3] of some faces of each archive, and the light on them."""
    models = FaceModels.load()
    for archive in archives:
        with zipfile.ZipFile(archive) as files:
            names = [name for name in sorted(files.namelist()) if name.endswith(".webp")]
            for i in np.random.default_rng(0).permutation(len(names))[:MOST]:
                image = Image.open(io.BytesIO(files.read(names[i]))).convert("RGB")
                image = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
                if faces := detect_faces(models, np.asarray(image)):
                    mesh = find_mesh(models, image, max(faces, key=lambda face: float(face.size.max())))
                    if mesh.presence > 0.9:
                        yield mesh.points, halves_contrast(luma(np.asarray(image)), mesh.points[:, :2])


def residual(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a face differs from the mean face by, in the face's own plane and the mean face's unit, [468, 2]."""
    quad, face = crop_quad(points, 0.8), mean_face()
    right = quad.right / np.linalg.norm(quad.right)
    upright = (points[:, :2] - quad.centre) / quad.side @ np.stack([right, [-right[1], right[0]]], axis=1)
    rotation, shift = fit_perspective(upright, face, FOCAL)
    solid = face @ rotation.T + shift
    apart = (upright - FOCAL * solid[:, :2] / solid[:, 2:]) * shift[2] / FOCAL
    return np.asarray(apart @ np.linalg.inv(rotation[:2, :2]).T)


def main(out: str, *archives: str) -> None:
    rows, moved = [], []
    for points, light in meshes(list(archives)):
        yaw, pitch = head_pose(points)
        if abs(yaw) < MOST_YAW and abs(pitch) < MOST_PITCH:
            moved.append(residual(points))
            frontal = mean_face()[:, :2] + moved[-1]
            rows.append((1.0, yaw, pitch, mouth_shape(frontal), eye_opening(frontal), light))
    known = np.array(rows)
    spread = known.std(axis=0)
    slopes = np.linalg.lstsq(known[:, :5], np.array(moved).reshape(len(known), -1), rcond=None)[0].reshape(5, -1, 2)
    mirrored = mean_face() * [-1.0, 1.0, 1.0]
    partner = np.linalg.norm(mirrored[:, None] - mean_face()[None], axis=2).argmin(axis=1)
    moves = slopes[3:5] * spread[3:5, None, None]
    np.save(out, ((moves + moves[:, partner] * [-1.0, 1.0]) / 2).astype(np.float32))
    print(f"{out}: {len(known)} faces; deviations: smile {spread[3]:.4f}, eyes {spread[4]:.4f}, light {spread[5]:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
