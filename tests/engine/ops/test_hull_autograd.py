import pytest
import torch

from everface.engine.errors import UsageError
from everface.engine.ops.hull_autograd import hull_distance


def problem(seed=0, n=2, m=4, d=5):
    generator = torch.Generator().manual_seed(seed)
    queries = 2 * torch.randn(n, d, generator=generator, dtype=torch.float64)
    vertices = torch.randn(m, d, generator=generator, dtype=torch.float64)
    return queries.requires_grad_(), vertices.requires_grad_()


@pytest.mark.parametrize("beta", [0.0, 0.05])
def test_gradients_are_those_of_differences(beta):
    queries, vertices = problem()
    assert torch.autograd.gradcheck(lambda q, v: hull_distance(q, v, beta)[0], (queries, vertices), atol=1e-6)


def test_operator_obeys_the_library_contract():
    queries, vertices = problem(1)
    torch.library.opcheck(torch.ops.everface.hull_distance.default, (queries, vertices, 0.02))


def test_inside_the_hull_nothing_pulls():
    _, vertices = problem(2)
    inside = vertices.detach().mean(dim=0, keepdim=True).float().requires_grad_()
    distance, weights = hull_distance(inside, vertices.detach().float())
    distance.sum().backward()
    assert distance.dtype == weights.dtype == torch.float32
    assert distance.item() < 1e-5 and torch.isfinite(inside.grad).all()
    with pytest.raises(UsageError, match="floating"):
        hull_distance(inside.detach(), vertices.detach())
