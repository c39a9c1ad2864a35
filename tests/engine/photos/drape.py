"""Photos draped over a face mesh and drawn from known cameras: a small software rasteriser with a depth buffer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import Delaunay

from everface.engine.photos.align import crop_quad
from everface.engine.photos.camera import face_in_world

_GRID = 12


@dataclass(frozen=True, eq=False)
class Draped:
    """A textured relief.

    Attributes:
        points: [v, 3] in world units; the first 468 are the face.
        places: [v, 2] of the texture, in pixels of the photo.
        triangles: [t, 3].
        photo: uint8 [h, w, 3].
    """

    points: NDArray[np.float64]
    places: NDArray[np.float64]
    triangles: NDArray[np.int_]
    photo: NDArray[np.uint8]


def drape(photo: NDArray[np.uint8], landmarks: NDArray[np.float64], face: NDArray[np.float64] | None = None) -> Draped:
    """A nearly frontal photo on a face mesh [468, 3] (the mean one by default), its surroundings on a slope behind it.

    Args:
        photo: uint8 [h, w, 3].
        landmarks: [468, 2 or 3] in its pixels.
        face: the mesh in world units.
    """
    face = face_in_world() if face is None else face
    xy = landmarks[:, :2]
    # Around the face: a grid of the photo, in the plane by the best similarity, in depth behind the face's edge.
    quad = crop_quad(xy, 0.8)
    line = np.linspace(-2.2, 2.2, _GRID)
    u, v = (item.ravel() for item in np.meshgrid(line, line))
    around = quad.centre + np.outer(u, quad.right) + np.outer(v, quad.down)
    hull = Delaunay(xy)
    around = around[hull.find_simplex(around) < 0]
    fit = np.linalg.lstsq(np.column_stack((xy, np.ones(468))), face[:, :2], rcond=None)[0]
    flat = np.column_stack((around, np.ones(len(around)))) @ fit
    reach = np.linalg.norm(flat - face[:, :2].mean(axis=0), axis=1) / np.ptp(face[:, 0])
    depth = face[:, 2].min() - 0.3 * np.ptp(face[:, 2]) * np.maximum(reach - 0.5, 0)
    points = np.vstack((face, np.column_stack((flat, depth))))
    places = np.vstack((xy, around))
    return Draped(points, places, Delaunay(places).simplices, photo)


def draw(mesh: Draped, label: NDArray[np.float64], size: int = 256) -> Image.Image:
    """What a camera [25] sees, size x size."""
    pose, lens = label[:16].reshape(4, 4), label[16:].reshape(3, 3)
    seen = (mesh.points - pose[:3, 3]) @ pose[:3, :3]
    xy = (seen[:, :2] / seen[:, 2:] * lens[[0, 1], [0, 1]] + lens[:2, 2]) * size
    picture, nearest = np.full((size, size, 3), 128.0), np.full((size, size), np.inf)
    source = mesh.photo.astype(np.float64)
    for corners in mesh.triangles:
        (low_x, low_y), (high_x, high_y) = (
            np.clip(edge, 0, size).astype(int) for edge in (np.floor(xy[corners].min(0)), np.ceil(xy[corners].max(0)))
        )
        if low_x >= high_x or low_y >= high_y:
            continue
        sides = np.column_stack((xy[corners[1]] - xy[corners[0]], xy[corners[2]] - xy[corners[0]]))
        if abs(np.linalg.det(sides)) < 1e-9:
            continue
        x, y = np.meshgrid(np.arange(low_x, high_x) + 0.5, np.arange(low_y, high_y) + 0.5)
        part = np.linalg.solve(sides, np.stack((x.ravel(), y.ravel())) - xy[corners[0]][:, None])
        weights = np.stack((1 - part.sum(axis=0), part[0], part[1]))
        inside = (weights >= -1e-6).all(axis=0)
        column, row = (x.ravel()[inside] - 0.5).astype(int), (y.ravel()[inside] - 0.5).astype(int)
        depth = weights[:, inside].T @ seen[corners, 2]
        closer = depth < nearest[row, column]
        column, row = column[closer], row[closer]
        nearest[row, column] = depth[closer]
        picture[row, column] = _bilinear(source, weights[:, inside][:, closer].T @ mesh.places[corners])
    return Image.fromarray(np.clip(picture + 0.5, 0, 255).astype(np.uint8))


def _bilinear(source: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    high = np.array(source.shape[1::-1]) - 1.001
    at = np.clip(places - 0.5, 0, high)
    x, y = at.astype(int).T
    fx, fy = (at - np.floor(at)).T[..., None]
    upper = source[y, x] * (1 - fx) + source[y, x + 1] * fx
    lower = source[y + 1, x] * (1 - fx) + source[y + 1, x + 1] * fx
    result: NDArray[np.float64] = upper * (1 - fy) + lower * fy
    return result
