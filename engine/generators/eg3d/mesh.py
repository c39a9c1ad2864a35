"""The surface of a volume as triangles with colours, by surface nets (Gibson 1998), and as a PLY file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from everface.engine.errors import NothingToDoError, UsageError
from everface.engine.generators.eg3d.marching import Field

_AT_ONCE = 65536
# Cells around an edge along each axis, in order around it: offsets in the other two axes.
_AROUND = ((0, 0), (-1, 0), (-1, -1), (0, -1))


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles.

    Attributes:
        vertices: [v, 3] float32 in world units: x to the right of the picture, y up, z towards a frontal camera.
        triangles: [t, 3] int32, anticlockwise seen from outside.
        colours: [v, 3] uint8.
    """

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    colours: NDArray[np.uint8]


@torch.no_grad()
def mesh_of(field: Field, *, side: int = 96, density: float = 10.0) -> Mesh:
    """Where the density crosses a level, with the colours found there.

    Args:
        field: the volume of one head.
        side: points of the grid across the cube, 8 to 512.
        density: matter per world unit, after softplus, above which is inside.

    Raises:
        UsageError: a grid outside of its range, or a level that is not positive.
        NothingToDoError: the density crosses the level nowhere.
    """
    if not 8 <= side <= 512 or not density > 0:
        raise UsageError("side, density", expected="8 to 512, above 0", found=f"{side}, {density}")
    half = field.config.box_warp / 2
    axis = torch.linspace(-half, half, side)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
    densities = torch.cat([field(part[None])[0][0, :, 0] for part in torch.split(points, _AT_ONCE)])
    values = F.softplus(densities - 1.0).reshape(side, side, side).numpy()
    places, triangles = surface_net(values, density)
    if not len(triangles):
        remedy = "use a lower density"
        raise NothingToDoError("mesh", expected=f"a surface of density {density:g}", found="none", remedy=remedy)
    vertices = (places / (side - 1) * 2 * half - half).astype(np.float32)
    parts = torch.split(torch.from_numpy(vertices), _AT_ONCE)
    colours = torch.cat([field(part[None])[1][0, :, :3] for part in parts]).clamp(0, 1)
    return Mesh(vertices, triangles, (colours * 255).round().byte().numpy())


def surface_net(values: NDArray[np.floating], level: float) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """A vertex in every cell that the level passes through, at the mean of its edges' crossings; two triangles an edge.

    Args:
        values: [a, b, c], larger inside.
        level: of the surface.

    Returns:
        Vertices [v, 3] in grid units and triangles [t, 3], anticlockwise seen from outside; open at the grid's ends.
    """
    inside = values > level
    cells = tuple(size - 1 for size in values.shape)
    total, count = np.zeros((*cells, 3)), np.zeros(cells)
    quads: list[tuple[NDArray[np.intp], NDArray[np.bool_], int]] = []
    for axis in range(3):
        first = tuple(slice(None, -1) if i == axis else slice(None) for i in range(3))
        second = tuple(slice(1, None) if i == axis else slice(None) for i in range(3))
        edges = np.argwhere(inside[first] != inside[second])
        low, high = values[first][tuple(edges.T)], values[second][tuple(edges.T)]
        crossing = edges.astype(np.float64)
        crossing[:, axis] += (level - low) / (high - low)
        others = [i for i in range(3) if i != axis]
        for offset in _AROUND:
            cell = edges.copy()
            cell[:, others] += offset
            ok = ((cell >= 0) & (cell < cells)).all(axis=1)
            np.add.at(total, tuple(cell[ok].T), crossing[ok])
            np.add.at(count, tuple(cell[ok].T), 1)
        quads.append((edges, inside[first][tuple(edges.T)], axis))
    number = np.full(cells, -1)
    number[count > 0] = np.arange(int((count > 0).sum()))
    vertices = total[count > 0] / count[count > 0][:, None]
    triangles = [_triangles(number, edges, leaving, axis) for edges, leaving, axis in quads]
    return vertices, np.concatenate(triangles).astype(np.int32)


def _triangles(
    number: NDArray[np.intp], edges: NDArray[np.intp], leaving: NDArray[np.bool_], axis: int
) -> NDArray[np.intp]:
    """Two triangles for each edge that has four cells around it; ``leaving``: the edge goes from inside to outside."""
    others = [i for i in range(3) if i != axis]
    ring = np.repeat(edges[:, None], 4, axis=1)
    ring[:, :, others] += np.array(_AROUND)
    ok = ((ring >= 0) & (ring < number.shape)).all(axis=(1, 2))
    corners = number[tuple(np.moveaxis(ring[ok], -1, 0))]
    # Around x and z the ring runs anticlockwise seen from the far end of the edge, around y clockwise.
    turned = leaving[ok] if axis != 1 else ~leaving[ok]
    corners = np.where(turned[:, None], corners, corners[:, ::-1])
    return np.concatenate((corners[:, (0, 1, 2)], corners[:, (0, 2, 3)]))


def ply_bytes(mesh: Mesh) -> bytes:
    """The mesh as a binary PLY file (little-endian), with colours."""
    header = "\n".join(
        ["ply", "format binary_little_endian 1.0", f"element vertex {len(mesh.vertices)}"]
        + [f"property float {name}" for name in "xyz"]
        + [f"property uchar {name}" for name in ("red", "green", "blue")]
        + [f"element face {len(mesh.triangles)}", "property list uchar int vertex_indices", "end_header", ""]
    )
    points = np.zeros(len(mesh.vertices), [("place", "<f4", 3), ("colour", "u1", 3)])
    points["place"], points["colour"] = mesh.vertices, mesh.colours
    faces = np.zeros(len(mesh.triangles), [("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, mesh.triangles
    return header.encode() + points.tobytes() + faces.tobytes()
