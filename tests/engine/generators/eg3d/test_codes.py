"""Codes that carry their camera."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.bases import generator_from_bytes, load_base
from everface.engine.generators.eg3d.checkpoints import eg3d_from_bytes
from everface.engine.generators.eg3d.codes import split_camera
from everface.engine.generators.eg3d.generator import TriPlaneGenerator
from everface.engine.photos.camera import orbit


@pytest.fixture(scope="module")
def generator(tiny_3d: Path) -> TriPlaneGenerator:
    return eg3d_from_bytes(tiny_3d.read_bytes(), "tiny")[0]


def join_camera(ws: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    return torch.cat([ws, c if ws.ndim == 2 else c[:, None].expand(-1, ws.shape[1], -1)], dim=-1)


def test_a_posed_code_gives_the_view_from_its_camera(generator: TriPlaneGenerator) -> None:
    ws, c = torch.randn(2, 32), torch.from_numpy(orbit([-20.0, 30.0])).float()
    found = generator.render(join_camera(ws, c))
    torch.testing.assert_close(found, generator.synthesis(ws, c).image, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(found[0], generator.render(join_camera(ws, c.flip(0)))[0], atol=1e-3)
    layers = ws[:, None].expand(-1, generator.num_ws, -1)
    torch.testing.assert_close(generator.render(join_camera(layers, c)), found, rtol=1e-3, atol=1e-4)


def test_joining_and_splitting_are_reverses() -> None:
    ws, c = torch.randn(3, 8), torch.randn(3, 25)
    for styles in (ws, ws[:, None].expand(-1, 4, -1)):
        back, camera = split_camera(join_camera(styles, c))
        assert torch.equal(back, styles)
        assert torch.equal(camera, c)


def test_codes_without_cameras_are_refused(generator: TriPlaneGenerator) -> None:
    with pytest.raises(UsageError, match="codes with cameras"):
        generator.render(torch.zeros(1, 32))


def test_the_mapping_is_not_tuned(generator: TriPlaneGenerator) -> None:
    trained = {id(one) for one in generator.tunable_parameters().values()}
    mapping = {id(one) for one in generator.backbone.mapping.parameters()}
    assert not trained & mapping
    assert len(trained) + len(mapping) == len(list(generator.parameters()))
    assert generator.code_dim == generator.w_dim + 25


def test_bytes_tell_their_dimension(generator: TriPlaneGenerator, tiny_base: Path) -> None:
    assert generator_from_bytes(generator.to_bytes({}), "x")[0].dimension == "3d"
    assert generator_from_bytes(tiny_base.read_bytes(), "x")[0].dimension == "2d"


def test_a_base_of_the_other_dimension_is_refused(tiny_base: Path, tiny_3d: Path) -> None:
    with pytest.raises(CheckpointError, match="--dimension 2d"):
        load_base(str(tiny_base), "3d")
    with pytest.raises(CheckpointError, match="--dimension 3d"):
        load_base(str(tiny_3d), "2d")
    with pytest.raises(CheckpointError, match="base3d"):
        load_base("absent", "3d")


def test_cameras_get_no_gradients_and_styles_do(generator: TriPlaneGenerator) -> None:
    ws, c = torch.randn(2, generator.config.backbone.w_dim), torch.from_numpy(orbit([10.0, -10.0])).float()
    codes = join_camera(ws, c).requires_grad_(True)
    (slope,) = torch.autograd.grad(generator.render(codes).square().sum(), [codes])
    ws, c = split_camera(slope)
    assert ws.abs().max() > 0
    assert not c.any()
