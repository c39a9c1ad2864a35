import pytest
import torch

from everface.engine.errors import UsageError
from everface.engine.perception.losses import PreparedTargets, ReconstructionLoss
from everface.engine.perception.perceptual import PerceptualDistance


@pytest.fixture(scope="module")
def perceptual():
    return PerceptualDistance.load()


@pytest.fixture(scope="module")
def images():
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_is_the_sum_of_its_parts(perceptual, images):
    loss = ReconstructionLoss(perceptual, mse_weight=2.5)
    result = loss(images.flip(0), loss.prepare(images))
    mse = (images.flip(0) - images).square().mean((1, 2, 3))
    torch.testing.assert_close(result, perceptual(images.flip(0), images) + 2.5 * mse)


def test_prepared_targets_are_chosen_by_index(perceptual, images):
    loss = ReconstructionLoss(perceptual)
    prepared, index = loss.prepare(images), torch.tensor([3, 1, 1])
    chosen = prepared[index]
    assert (len(prepared), len(chosen)) == (4, 3)
    assert loss(images[index], chosen).tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    torch.testing.assert_close(loss(images[:3], chosen), loss(images[:3], loss.prepare(images[index])))


def test_join_keeps_the_order(perceptual, images):
    loss = ReconstructionLoss(perceptual)
    joined = PreparedTargets.join(loss.prepare(images[:1]), loss.prepare(images[1:]))
    torch.testing.assert_close(loss(images.flip(0), joined), loss(images.flip(0), loss.prepare(images)))
    with pytest.raises(UsageError, match="at least one part"):
        PreparedTargets.join()


def test_descends(perceptual, images):
    loss = ReconstructionLoss(perceptual)
    target = loss.prepare(images[:1])
    x = torch.zeros(1, 3, 32, 32, requires_grad=True)
    optimiser = torch.optim.Adam([x], lr=0.1)
    first = loss(x, target).item()
    for _ in range(6):
        optimiser.zero_grad()
        loss(x, target).sum().backward()
        optimiser.step()
    assert loss(x, target).item() < 0.9 * first
    assert not target.images.requires_grad


def test_refusals(perceptual, images):
    loss = ReconstructionLoss(perceptual)
    with pytest.raises(UsageError, match="one target per image"):
        loss(images[:2], loss.prepare(images))
    with pytest.raises(UsageError, match="mse_weight"):
        ReconstructionLoss(perceptual, mse_weight=-1)
