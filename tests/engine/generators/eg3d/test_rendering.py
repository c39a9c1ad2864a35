"""Rays, planes, samples and their sum: each against a closed form or a slow, plain computation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from everface.engine.errors import UsageError
from everface.engine.generators.eg3d.cameras import Rays, camera_rays
from everface.engine.generators.eg3d.config import RenderConfig
from everface.engine.generators.eg3d.marching import Field, March, render_rays
from everface.engine.generators.eg3d.sampling import Jitter, stratified_depths
from everface.engine.ops.volume import reference as volume


def label(focal: float = 4.2647) -> Tensor:
    """A camera at (0, 0, 2.7) that looks at the origin, y up."""
    pose = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    pose[2, 3] = 2.7
    lens = torch.tensor([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]])
    return torch.cat((pose.flatten(), lens.flatten()))[None]


def test_rays_go_through_pixel_centres() -> None:
    rays = camera_rays(label(), 4)
    assert rays.directions.shape == (1, 16, 3)
    torch.testing.assert_close(rays.directions.norm(dim=2), torch.ones(1, 16))
    first = rays.directions[0, 0]  # upper left: towards -x, up
    assert first[0] < 0 < first[1]
    torch.testing.assert_close(first / -first[2], torch.tensor([-0.375 / 4.2647, 0.375 / 4.2647, -1.0]))
    assert torch.equal(rays.origins[0, 5], torch.tensor([0.0, 0.0, 2.7]))
    with pytest.raises(UsageError, match="camera labels"):
        camera_rays(torch.zeros(1, 16), 4)


def test_a_skewed_lens_is_inverted() -> None:
    c = label()
    c[0, 17], c[0, 20], c[0, 21] = 0.3, 4.0, 0.4
    rays = camera_rays(c, 8)
    pose, lens = c[0, :16].reshape(4, 4), c[0, 16:].reshape(3, 3)
    seen = (rays.directions[0] @ pose[:3, :3]) @ lens.T
    places = (torch.arange(8) + 0.5) / 8
    torch.testing.assert_close(seen[:, 0] / seen[:, 2], places.repeat(8))
    torch.testing.assert_close(seen[:, 1] / seen[:, 2], places.repeat_interleave(8))


@pytest.mark.parametrize(("axes", "third"), [("published", (2, 0)), ("corrected", (2, 1))])
def test_planes_are_sampled_where_points_project(axes: str, third: tuple[int, int]) -> None:
    # A plane of ramps gives back its two coordinates, since bilinear samples of a linear function are exact.
    side = 9
    ramp = ((torch.arange(side) + 0.5) / side * 2 - 1) * 0.5
    plane = torch.stack((ramp.expand(side, side), ramp[:, None].expand(side, side)))
    points = torch.rand(1, 7, 3, generator=torch.Generator().manual_seed(0)) * 0.8 - 0.4
    for index, (column, row) in enumerate(((0, 1), (0, 2), third)):
        planes = torch.zeros(1, 3, 2, side, side)
        planes[0, index] = plane
        found = Field(planes, Ball(), RenderConfig(plane_axes=axes)).features(points) * 3
        torch.testing.assert_close(found[0], points[0][:, [column, row]])
    outside = Field(torch.ones(1, 3, 2, side, side), Ball(), RenderConfig()).features(torch.full((1, 1, 3), 0.7))
    assert not outside.any()


def test_constant_density_follows_beers_law() -> None:
    depths = torch.linspace(1.0, 3.0, 201)[None, None]
    densities = torch.full((1, 1, 201, 1), 2.0)
    density = math.log1p(math.exp(1.0))
    march = March(*volume.composite(densities, torch.full((1, 1, 201, 4), 0.75), depths, white_back=False))
    opacity = 1 - math.exp(-2 * density)
    torch.testing.assert_close(march.opacity, torch.full((1, 1, 1), opacity), atol=1e-5, rtol=0)
    torch.testing.assert_close(march.features, torch.full((1, 1, 4), 2 * 0.75 * opacity - 1), atol=1e-4, rtol=0)
    mean = 1 + 1 / density - 2 * math.exp(-2 * density) / opacity
    torch.testing.assert_close(march.depth, torch.full((1, 1, 1), mean), atol=1e-3, rtol=0)
    white = March(*volume.composite(densities, torch.full((1, 1, 201, 4), 0.75), depths, white_back=True))
    torch.testing.assert_close(white.features, march.features + 2 * (1 - opacity), atol=1e-4, rtol=0)


def test_weights_match_a_loop() -> None:
    draw = torch.Generator().manual_seed(1)
    densities = torch.randn(2, 3, 10, 1, generator=draw) * 4
    depths = torch.rand(2, 3, 10, generator=draw).sort(dim=-1).values
    found = volume.interval_weights(densities, depths)
    for i in range(2):
        for j in range(3):
            light = 1.0
            for k in range(9):
                middle = 0.5 * (densities[i, j, k, 0] + densities[i, j, k + 1, 0]).item()
                matter = math.log1p(math.exp(middle - 1)) * (depths[i, j, k + 1] - depths[i, j, k]).item()
                assert found[i, j, k].item() == pytest.approx(light * (1 - math.exp(-matter)), abs=1e-6)
                light *= math.exp(-matter)


def test_the_first_pass_is_even_and_the_noise_stays_in_its_interval() -> None:
    config = RenderConfig(samples=8)
    like = torch.zeros(1, 5, 3)
    step = (3.3 - 2.25) / 7
    plain = stratified_depths(like, config, Jitter.midpoints(config))
    torch.testing.assert_close(plain[0, 0], 2.25 + step * (torch.arange(8) + 0.5))
    noisy = stratified_depths(like, config, Jitter.draw(config, 1, 5, torch.Generator().manual_seed(0)))
    assert ((noisy - (plain - 0.5 * step)) >= 0).all()
    assert ((noisy - (plain + 0.5 * step)) < 1e-6).all()


def test_the_second_pass_goes_where_the_weight_is() -> None:
    config = RenderConfig(samples=24, importance_samples=64)
    depths = stratified_depths(torch.zeros(1, 1, 3), config, Jitter.midpoints(config))
    weights = torch.zeros(1, 1, 23)
    weights[..., 11] = 1.0
    finer = volume.importance_depths(depths, weights, Jitter.midpoints(config).importance)
    assert torch.equal(finer, finer.sort(dim=-1).values)
    near = (finer - 0.5 * (depths[..., 11] + depths[..., 12])[..., None]).abs() < 2 * (depths[..., 1] - depths[..., 0])
    assert near.float().mean() > 0.8
    # Spread by quantiles: noise of the same distribution has nearly the same mean.
    noisy = volume.importance_depths(depths, weights, torch.rand(1, 1, 4000))
    assert abs(noisy.mean() - finer.mean()) < 0.02


class Ball:
    """A decoder for planes of coordinates: dense within a radius of the origin of the plane's axes."""

    def __call__(self, features: Tensor) -> tuple[Tensor, Tensor]:
        inside = features[..., :1] > 0.5
        return torch.where(inside, 400.0, -400.0), torch.where(inside, 0.9, 0.1).expand(*features.shape[:-1], 3)


def test_a_slab_is_seen_where_it_is() -> None:
    # All three planes mark |x|, |y|, |z| < 0.25: the mean exceeds a half where two or more agree with all: the cube.
    side = 64
    ramp = ((torch.arange(side) + 0.5) / side * 2 - 1).abs() < 0.5
    planes = (ramp[:, None] & ramp[None]).float().expand(1, 3, 1, side, side)
    rays = Rays(torch.tensor([[[0.0, 0, 2.7], [0.4, 0.4, 2.7]]]), torch.tensor([[[0.0, 0, -1], [0.0, 0, -1]]]))
    config = RenderConfig(samples=48, importance_samples=48)
    march = render_rays(Field(planes, Ball(), config), rays, Jitter.midpoints(config))
    assert march.depth[0, 0, 0].item() == pytest.approx(2.7 - 0.25, abs=0.02)
    assert march.opacity[0, :, 0].tolist() == pytest.approx([1.0, 0.0], abs=1e-3)
    assert march.features[0, 0].tolist() == pytest.approx([0.8] * 3, abs=0.05)
    # A ray that sees nothing is given the farthest sample's depth.
    assert march.depth[0, 1, 0].item() == pytest.approx(3.3, abs=0.03)


def test_chunks_and_gradient_mode_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(2)
    planes = torch.randn(1, 3, 4, 8, 8, generator=draw).requires_grad_(True)
    config = RenderConfig(samples=6, importance_samples=6)
    field = Field(planes, lambda x: (x.sum(-1, keepdim=True) * 3, torch.sigmoid(x)), config)
    rays = camera_rays(label(), 6)
    jitter = Jitter.draw(config, 1, 36, draw)
    whole = render_rays(field, rays, jitter)
    whole.features.square().mean().backward()
    assert planes.grad is not None
    assert planes.grad.abs().sum() > 0
    monkeypatch.setattr("everface.engine.generators.eg3d.marching._CHUNK", 7)
    with torch.no_grad():
        parts = render_rays(field, rays, jitter)
    for name in ("features", "depth", "opacity"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name))
