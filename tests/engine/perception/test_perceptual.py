import pytest
import torch
import torch.nn.functional as F

from everface.engine.assets import asset_path
from everface.engine.errors import UsageError
from everface.engine.perception.perceptual import PerceptualDistance


@pytest.fixture(scope="module")
def perceptual():
    return PerceptualDistance.load()


@pytest.fixture(scope="module")
def picture():
    """Smooth noise [2, 3, 64, 64] with edges: something to look at, in [-1, 1]."""
    small = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    return (F.interpolate(small, size=64, mode="nearest") * 0.4).clamp(-1, 1)


def test_the_asset_keeps_its_budget():
    assert asset_path("perceptual.safetensors").stat().st_size <= 4.5e6


def test_equal_pictures_have_no_distance(perceptual, picture):
    assert perceptual(picture, picture).tolist() == [0, 0]


def test_more_change_is_farther(perceptual, picture):
    def blurred(radius):
        return F.avg_pool2d(F.pad(picture, [radius] * 4, mode="reflect"), 2 * radius + 1, 1)

    slight, strong = perceptual(blurred(1), picture), perceptual(blurred(4), picture)
    assert (slight > 0).all()
    assert (1.5 * slight < strong).all()


def test_structure_counts_more_than_brightness(perceptual, picture):
    """At equal squared error, a blur is farther than an even change of light."""
    blurred = F.avg_pool2d(F.pad(picture, [1] * 4, mode="reflect"), 3, 1)
    error = (blurred - picture).square().mean((1, 2, 3), keepdim=True).sqrt()
    assert (perceptual(picture * 0.5 + error, picture * 0.5) < perceptual(blurred * 0.5, picture * 0.5)).all()


def test_features_have_unit_length_and_can_be_kept(perceptual, picture):
    kept = perceptual.features(picture)
    for layer in kept:
        torch.testing.assert_close(layer.square().sum(1), torch.ones_like(layer[:, 0]), atol=1e-3, rtol=0)
    other = picture.flip(3)
    torch.testing.assert_close(perceptual.distance(perceptual.features(other), kept), perceptual(other, picture))


def test_the_images_of_a_batch_do_not_mix(perceptual, picture):
    both = perceptual(picture.flip(3), picture)
    alone = torch.cat([perceptual(picture[i : i + 1].flip(3), picture[i : i + 1]) for i in (0, 1)])
    torch.testing.assert_close(both, alone, atol=1e-5, rtol=1e-5)


def test_gradient_by_differences(perceptual, picture):
    exact = PerceptualDistance.load().double()
    start = (picture[:1, :, :16, :16].double() * 0.7).requires_grad_(True)
    target = picture[:1, :, 32:48, 32:48].double()
    (gradient,) = torch.autograd.grad(exact(start, target).sum(), start)
    direction = torch.randn(start.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    step = 1e-8  # tiny, since activations have kinks
    with torch.no_grad():
        rise = exact(start + step * direction, target) - exact(start - step * direction, target)
    assert (gradient * direction).sum().item() == pytest.approx(rise.item() / (2 * step), rel=1e-4)


def test_one_scale_for_all_sizes(perceptual, picture):
    """A 64 pixel picture and the same one enlarged to 128 are seen alike."""
    larger = F.interpolate(picture, scale_factor=2, mode="bilinear", align_corners=False)
    for small, large in zip(perceptual.features(picture), perceptual.features(larger), strict=True):
        torch.testing.assert_close(small, large)


def test_other_images_are_refused(perceptual):
    with pytest.raises(UsageError, match="images: expected shape"):
        perceptual.features(torch.zeros(3, 64, 64))
