"""What both generators promise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from everface.engine.errors import UsageError
from everface.engine.generators.bases import generator_from_bytes, load_base
from everface.engine.generators.protocol import FaceGenerator


@pytest.fixture(scope="module", params=["2d", "3d"])
def generator(request: pytest.FixtureRequest, tiny_base: Path, tiny_3d: Path) -> FaceGenerator:
    return load_base(str(tiny_base if request.param == "2d" else tiny_3d), request.param).generator


def codes(generator: FaceGenerator, n: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    w = generator.map(torch.randn(n, generator.z_dim, generator=random))
    camera = torch.tensor([1.0, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 2.7, 0, 0, 0, 1, 4.26, 0, 0.5, 0, 4.26, 0.5, 0, 0, 1])
    return torch.cat([w, camera[: generator.camera_dim].expand(n, -1)], dim=1)


def test_codes_become_pictures_and_layers_the_same(generator: FaceGenerator) -> None:
    one = codes(generator, 2)
    assert one.shape[1] == generator.code_dim == generator.w_dim + generator.camera_dim
    with torch.no_grad():
        pictures = generator.render(one)
        layers = generator.render(one[:, None].expand(-1, generator.num_ws, -1))
        quick = generator.renderer()(one)
    assert pictures.shape == (2, 3, generator.resolution, generator.resolution)
    torch.testing.assert_close(layers, pictures, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(quick, pictures, atol=1e-3, rtol=1e-3)


def test_all_but_the_mapping_is_tunable(generator: FaceGenerator) -> None:
    tunable = generator.tunable_parameters()
    rest = dict(generator.named_parameters()).keys() - tunable.keys()
    assert tunable and rest
    assert all("mapping." in name for name in rest)
    assert all(generator.get_parameter(name) is value for name, value in tunable.items())


def test_a_copy_shares_nothing_and_a_file_keeps_all(generator: FaceGenerator) -> None:
    copied = generator.copy()
    with torch.no_grad():
        next(iter(copied.tunable_parameters().values())).add_(1)
    again, metadata = generator_from_bytes(generator.to_bytes({"terms": "mine"}, "f4"), "again")
    assert metadata["terms"] == "mine"
    assert again.dimension == generator.dimension
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in generator.state_dict().items())


def test_it_is_cut_to_what_it_holds(generator: FaceGenerator) -> None:
    assert generator.cut(generator.resolution).resolution == generator.resolution
    with pytest.raises(UsageError, match="resolution"):
        generator.cut(2 * generator.resolution)


def test_a_flat_generator_has_no_surface(tiny_base: Path) -> None:
    with pytest.raises(UsageError, match="--dimension 3d"):
        load_base(str(tiny_base)).generator.mesh(torch.zeros(32), 24)
