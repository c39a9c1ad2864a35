"""The fused renderer against plain PyTorch in float64, its gradients, and its registration with PyTorch."""

from __future__ import annotations

import pytest
import torch
from tests.engine.ops.rounding import bound, typical, unit_roundoff
from torch import Tensor

from everface import _native
from everface.engine.errors import MissingBackendError, UsageError
from everface.engine.ops.volume import VolumeSettings, render_volume

TERMS = 2 * 64 * 24  # images, rays and samples of the gradients' test
PUBLISHED, CORRECTED = ((0, 1), (0, 2), (2, 0)), ((0, 1), (0, 2), (2, 1))


def volume(
    n: int = 1, features: int = 32, hidden: int = 64, side: int = 32, dense: float = 0.0
) -> tuple[Tensor, list[Tensor]]:
    """Smooth random planes and a decoder that makes clouds of them; ``dense`` lifts the density."""
    rng = torch.Generator().manual_seed(4)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=rng, dtype=torch.float64)

    coarse = normal(n * 3, features, 4, 4)
    planes = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").reshape(
        n, 3, features, side, side
    )
    decoder = [normal(hidden, features) / features**0.5 * 2, normal(hidden)]
    decoder += [normal(1 + features, hidden) / hidden**0.5 * 3, normal(1 + features)]
    decoder[3][0] += dense
    return planes, decoder


def rays(n: int = 1, side: int = 8) -> tuple[Tensor, Tensor]:
    """Through the cube from in front, one per pixel."""
    places = (torch.arange(side, dtype=torch.float64) + 0.5) / side * 0.3 - 0.15
    ends = torch.stack((places.repeat(side), places.repeat_interleave(side), -torch.ones(side * side)), dim=1)
    directions = torch.nn.functional.normalize(ends, dim=1).expand(n, -1, -1)
    origins = torch.tensor([0.1, -0.05, 2.7], dtype=torch.float64).expand(n, side * side, 3)
    return origins, directions


def samples(n: int, count: int, first: int, second: int, seed: int | None = 0) -> tuple[Tensor, Tensor]:
    """Depths and quantiles: drawn for each ray, or with no seed the same for all."""
    size = (n, count) if seed is not None else (1, 1)
    if seed is None:
        noise, quantiles = torch.full((1, 1, first), 0.5), (torch.arange(second) + 0.5)[None, None] / second
    else:
        rng = torch.Generator().manual_seed(seed)
        noise, quantiles = torch.rand(*size, first, generator=rng), torch.rand(*size, second, generator=rng)
    depths = 2.25 + 1.05 * (torch.arange(first) + noise.double()) / (first - 1)
    return depths, quantiles.double()


def run(
    planes: Tensor, decoder: list[Tensor], where: tuple, dtype: torch.dtype, impl: str, **settings
) -> tuple[Tensor, Tensor, Tensor]:
    cast = {"axes": PUBLISHED, "tolerance": 0.0, **settings}
    lines, depths, quantiles = where
    return render_volume(
        planes.to(dtype),
        [one.to(dtype) for one in decoder],
        (lines[0].to(dtype), lines[1].to(dtype)),
        depths.to(dtype),
        None if quantiles is None else quantiles.to(dtype),
        VolumeSettings(**cast),
        impl=impl,
    )


@pytest.mark.parametrize("axes", [PUBLISHED, CORRECTED])
@pytest.mark.parametrize("white", [False, True])
@pytest.mark.parametrize("seed", [None, 3])
def test_forward_is_the_definition(axes, white, seed):
    planes, decoder = volume(2, features=12, hidden=20, side=19)
    where = (rays(2), *samples(2, 64, 12, 9, seed))
    settings = {"axes": axes, "white_back": white, "box_warp": 0.9}
    truth = run(planes, decoder, where, torch.float64, "reference", **settings)
    exact = run(planes, decoder, where, torch.float64, "cpu", **settings)
    single = run(planes, decoder, where, torch.float32, "cpu", **settings)
    auto = run(planes, decoder, where, torch.float32, "auto", **settings)
    for name, one, a, b, c in zip(("features", "depth", "opacity"), truth, exact, single, auto, strict=True):
        assert a.shape == one.shape, name
        terms = 21 * (20 + 12)  # samples of a ray, and what each of them sums in the decoder's two layers
        torch.testing.assert_close(a, one, rtol=0, atol=bound(terms, torch.float64), msg=name)
        torch.testing.assert_close(b.double(), one, rtol=0, atol=bound(terms, torch.float32), msg=name)
        assert torch.equal(b, c), name


def test_one_pass_and_rays_that_meet_nothing():
    planes, decoder = volume(features=4, hidden=8, side=5, dense=-1e4)
    depths, _ = samples(1, 64, 7, 1)
    for impl in ("cpu", "reference"):
        features, depth, opacity = run(planes, decoder, (rays(), depths, None), torch.float32, impl)
        assert (features == -1).all()
        assert (opacity == 0).all()
        assert (depth == depths.float().max()).all()


@pytest.mark.parametrize("dense", [-6.0, 0.0, 12.0])
def test_skipping_stays_within_its_tolerance(dense):
    planes, decoder = volume(dense=dense)
    where = (rays(), *samples(1, 64, 24, 24))
    exact = run(planes, decoder, where, torch.float64, "cpu")
    for tolerance in (1e-4, 1e-2):
        skipped = run(planes, decoder, where, torch.float64, "cpu", tolerance=tolerance)
        assert (skipped[0] - exact[0]).abs().max() <= tolerance
        assert (skipped[2] - exact[2]).abs().max() <= tolerance / 4


def gradients(planes, decoder, where, dtype, impl, slopes, **settings) -> list[Tensor]:
    leaves = [one.to(dtype).requires_grad_() for one in (planes, *decoder)]
    out = run(leaves[0], leaves[1:], where, dtype, impl, **settings)
    loss = sum((a * b.to(dtype)).sum() for a, b in zip(out, slopes, strict=True))
    return [one.double() for one in torch.autograd.grad(loss, leaves)]


@pytest.mark.parametrize("axes", [PUBLISHED, CORRECTED])
@pytest.mark.parametrize("dense", [-4.0, 4.0])
def test_gradients_are_those_of_the_reference(axes, dense):
    planes, decoder = volume(2, dense=dense, side=16)
    where = (rays(2), *samples(2, 64, 12, 12))
    rng = torch.Generator().manual_seed(9)
    slopes = [torch.randn(2, 64, wide, generator=rng, dtype=torch.float64) for wide in (32, 1, 1)]
    settings = {"axes": axes, "white_back": dense > 0}
    call = (planes, decoder, where)
    truth = gradients(*call, torch.float64, "reference", slopes, **settings)
    exact = gradients(*call, torch.float64, "cpu", slopes, **settings)
    mine = gradients(*call, torch.float32, "cpu", slopes, **settings)
    plain = gradients(*call, torch.float32, "reference", slopes, **settings)
    skipped = gradients(*call, torch.float32, "cpu", slopes, tolerance=1e-4, **settings)
    for a, b, c, d, e in zip(truth, exact, mine, plain, skipped, strict=True):
        size, error = float(a.norm()), float((d - a).norm())
        # A gradient is a sum over the samples of all rays. Thin volumes cancel most of it: how much of the precision
        # that costs, PyTorch's own error in float32 shows.
        ratio = unit_roundoff(torch.float64) / unit_roundoff(torch.float32)
        assert float((b - a).norm()) < bound(TERMS, torch.float64) * size + 8 * ratio * error
        assert float((c - a).norm()) < max(2 * error, typical(TERMS, torch.float32) * size)
        assert torch.equal(c, e)  # gradients skip nothing


def test_gradcheck():
    # One pass: where the second pass samples carries no gradient by definition, and finite differences would see it.
    planes, decoder = volume(features=3, hidden=4, side=4)
    depths, _ = samples(1, 4, 6, 1)
    line = tuple(one[:, :4] for one in rays())

    def call(planes: Tensor, *decoder: Tensor) -> tuple[Tensor, ...]:
        return render_volume(
            planes, decoder, line, depths, None, VolumeSettings(CORRECTED, white_back=True, tolerance=0), impl="cpu"
        )

    assert torch.autograd.gradcheck(call, [one.requires_grad_() for one in (planes, *decoder)])


def test_threads_do_not_change_the_picture():
    planes, decoder = volume()
    where = (rays(1, 16), *samples(1, 256, 16, 16))
    before = _native.get_threads()
    try:
        found = []
        for threads in (1, 3):
            _native.set_threads(threads)
            found.append(run(planes, decoder, where, torch.float32, "cpu"))
    finally:
        _native.set_threads(before)
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


def test_gradients_to_rays_take_the_reference():
    planes, decoder = volume(features=4, hidden=8, side=5)
    lines = tuple(one.float().requires_grad_() for one in rays())
    where = (lines, *samples(1, 64, 6, 5))
    features, _, _ = run(planes, decoder, where, torch.float32, "auto")
    [grad] = torch.autograd.grad(features.sum(), lines[0])
    assert grad.abs().sum() > 0
    with pytest.raises(MissingBackendError, match="no gradients to rays"):
        run(planes, decoder, where, torch.float32, "cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"planes": torch.zeros(1, 2, 4, 5, 5)}, r"\[n, 3, features, h, w\]"),
        ({"decoder": 1}, "decoder"),
        ({"rays": 3}, "origins"),
        ({"depths": torch.ones(1, 64, 3)}, "4 or more"),
        ({"quantiles": torch.ones(1, 63, 3)}, "quantiles"),
        ({"impl": "fpga"}, "impl"),
    ],
)
def test_misfits_are_named(change, message):
    planes, decoder = volume(features=4, hidden=8, side=5)
    planes, decoder = planes.float(), [one.float() for one in decoder]
    lines, (depths, quantiles) = tuple(one.float() for one in rays()), samples(1, 64, 6, 5)
    call = {"planes": planes, "decoder": decoder, "rays": lines, "depths": depths, "quantiles": quantiles}
    call |= {"impl": "auto"} | change
    if change.get("decoder"):
        call["decoder"] = [decoder[0][:, 1:], *decoder[1:]]
    if change.get("rays"):
        call["rays"] = (lines[0][:, 1:], lines[1])
    with pytest.raises(UsageError, match=message):
        render_volume(**call, settings=VolumeSettings(PUBLISHED))


def test_settings_refuse_what_makes_no_sense():
    for settings in ({"axes": ((0, 1),)}, {"axes": ((0, 3), (0, 1), (1, 2))}):
        with pytest.raises(UsageError, match="axes"):
            VolumeSettings(**settings)
    with pytest.raises(UsageError, match="box_warp"):
        VolumeSettings(PUBLISHED, box_warp=0)
    with pytest.raises(UsageError, match="tolerance"):
        VolumeSettings(PUBLISHED, tolerance=-1)


def test_cuda_is_never_taken_for_the_cpu():
    planes, decoder = volume(features=4, hidden=8, side=5)
    with pytest.raises(MissingBackendError, match="cuda"):
        run(planes, decoder, (rays(), *samples(1, 64, 6, 5)), torch.float32, "cuda")
