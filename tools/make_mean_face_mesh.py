"""Makes engine/assets/mean_face_mesh.npy from posed faces: python tools/make_mean_face_mesh.py faces128.zip OUT.npy

The archive holds pictures and a meta.csv (file, yaw, pitch in degrees). The mesh is the Procrustes mean of the landmark
model's output on every ninth picture, averaged with its mirror image, and tilted so that the median pitch measured
against it agrees with the table's.
"""

from __future__ import annotations

import csv
import io
import sys
import zipfile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from everface.engine.photos.detect import detect_faces
from everface.engine.photos.landmarks import LEFT_EYE, RIGHT_EYE, find_mesh
from everface.engine.photos.models import FaceModels
from everface.engine.photos.pose import head_rotation

STRIDE = 9


def rotation_between(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3, 3] with source @ rotation nearest to target (Kabsch); both [n, 3], centred."""
    u, _, vt = np.linalg.svd(source.T @ target)
    return u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt


def read_meshes(archive: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    models, meshes, pitches = FaceModels.load(), [], []
    with zipfile.ZipFile(archive) as files:
        rows = list(csv.DictReader(io.TextIOWrapper(files.open("meta.csv"), "utf-8")))
        for row in rows[::STRIDE]:
            image = Image.open(io.BytesIO(files.read(row["file"]))).convert("RGB")
            faces = detect_faces(models, np.asarray(image))
            if faces:
                meshes.append(find_mesh(models, image, faces[0]).points)
                pitches.append(float(row["pitch"]))
    return np.array(meshes), np.array(pitches)


def procrustes_mean(meshes: NDArray[np.float64]) -> NDArray[np.float64]:
    shapes = meshes - meshes.mean(axis=1, keepdims=True)
    shapes /= np.linalg.norm(shapes, axis=(1, 2), keepdims=True)
    mean = shapes.mean(axis=0)
    for _ in range(10):
        mean = np.mean([shape @ rotation_between(shape, mean) for shape in shapes], axis=0)
        mean /= np.linalg.norm(mean)
    return mean


def symmetrise(mean: NDArray[np.float64]) -> NDArray[np.float64]:
    mirrored = mean * [-1.0, 1.0, 1.0]
    for _ in range(20):  # nearest partners and the best rotation, in turn
        partner = np.linalg.norm(mirrored[:, None] - mean[None], axis=2).argmin(axis=1)
        mirrored = mirrored @ rotation_between(mirrored, mean[partner])
    twin = np.empty_like(mean)
    twin[partner] = mirrored
    both = (mean + twin) / 2
    # The plane of symmetry is not yet x = 0: its normal is the mean direction between partners.
    away = both[partner] - both
    normal = (away * np.sign(away[:, :1])).mean(axis=0)
    normal /= np.linalg.norm(normal)
    down = np.array([0.0, 1.0, 0.0]) - normal[1] * normal
    down /= np.linalg.norm(down)
    return both @ np.stack((normal, down, np.cross(normal, down)), axis=1)


def tilt(face: NDArray[np.float64], meshes: NDArray[np.float64], pitches: NDArray[np.float64]) -> NDArray[np.float64]:
    for _ in range(3):
        measured = [np.degrees(np.arcsin(np.clip(head_rotation(mesh, face)[1, 2], -1, 1))) for mesh in meshes]
        angle = np.radians(np.median(pitches - measured))
        c, s = np.cos(angle), np.sin(angle)
        face = face @ np.array([[1.0, 0.0, 0.0], [0.0, c, s], [0.0, -s, c]])
        print(f"median pitch off by {np.degrees(angle):.2f} degrees")
    return face


def main(archive: str, out: str) -> None:
    meshes, pitches = read_meshes(archive)
    face = symmetrise(procrustes_mean(meshes))
    face = tilt(face, meshes, pitches)
    face -= face.mean(axis=0)
    face /= np.linalg.norm(face[LEFT_EYE[0]] - face[RIGHT_EYE[0]])
    np.save(out, face.astype(np.float32))
    print(f"{out}: mean of {len(meshes)} faces")


if __name__ == "__main__":
    main(*sys.argv[1:3])
