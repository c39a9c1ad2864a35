"""Surfaces of volumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from everface.engine.errors import NothingToDoError, UsageError
from everface.engine.generators.eg3d.checkpoints import eg3d_from_bytes
from everface.engine.generators.eg3d.config import RenderConfig
from everface.engine.generators.eg3d.marching import Field
from everface.engine.generators.eg3d.mesh import mesh_of, ply_bytes, surface_net


def _ball(side: int = 24, radius: float = 0.7) -> np.ndarray:
    axis = np.linspace(-1, 1, side)
    return radius - np.sqrt(sum(np.square(one) for one in np.meshgrid(axis, axis, axis, indexing="ij")))


def test_a_ball_has_the_surface_of_a_ball() -> None:
    vertices, triangles = surface_net(_ball(), 0.0)
    places = vertices / 23 * 2 - 1
    assert np.abs(np.linalg.norm(places, axis=1) - 0.7).max() < 0.02
    # Closed: every edge belongs to two triangles, once in either direction; and Euler's number is that of a ball.
    edges = np.concatenate([triangles[:, pair] for pair in ((0, 1), (1, 2), (2, 0))])
    forward = {tuple(edge) for edge in edges.tolist()}
    assert len(forward) == len(edges)
    assert forward == {(b, a) for a, b in forward}
    assert len(vertices) - len(edges) // 2 + len(triangles) == 2
    a, b, c = (places[triangles[:, i]] for i in range(3))
    normals = np.cross(b - a, c - a)
    assert (np.einsum("td,td->t", normals, a + b + c) > 0).all()
    assert 0.5 * np.linalg.norm(normals, axis=1).sum() == pytest.approx(4 * np.pi * 0.49, rel=0.03)


def test_nothing_has_no_surface() -> None:
    vertices, triangles = surface_net(np.zeros((8, 8, 8)), 1.0)
    assert len(vertices) == len(triangles) == 0


def test_a_field_becomes_a_coloured_mesh_and_a_file() -> None:
    planes = torch.zeros(1, 3, 3, 4, 4)

    def decoder(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x[..., :1] * 0 + 40 * x[..., 1:2], torch.full_like(x, 0.5)

    planes[:, :, 1, 1:3, 1:3] = 1.0
    mesh = mesh_of(Field(planes, decoder, RenderConfig()), side=16)
    assert np.abs(mesh.vertices).max() < 0.5
    assert (mesh.colours == 128).all()
    data = ply_bytes(mesh)
    header, _, body = data.partition(b"end_header\n")
    assert f"element vertex {len(mesh.vertices)}\n".encode() in header
    assert len(body) == 15 * len(mesh.vertices) + 13 * len(mesh.triangles)
    assert np.frombuffer(body, "<f4", 3).tolist() == mesh.vertices[0].tolist()


def test_bad_requests_are_refused(tiny_3d: Path) -> None:
    generator, _ = eg3d_from_bytes(tiny_3d.read_bytes(), "tiny")
    field = generator.field(generator.planes(torch.zeros(1, 32)))
    with pytest.raises(UsageError, match="side"):
        mesh_of(field, side=4)
    with pytest.raises(NothingToDoError, match="lower density"):
        mesh_of(field, side=8, density=1e9)
