"""Distance to a hull as a PyTorch operator, differentiable in the query and in the vertices."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from everface.engine.errors import UsageError
from everface.engine.ops.hull import project_to_hull

__all__ = ["hull_distance"]


@torch.library.custom_op("everface::hull_distance", mutates_args=())
def _hull_distance(queries: Tensor, vertices: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    # Work is done in float64 whatever the type: the native solver is as fast, and the caller's type comes back.
    found = project_to_hull(queries.detach().double().cpu().numpy(), vertices.detach().double().cpu().numpy(), beta)
    distance, weights = torch.as_tensor(found.distance), torch.as_tensor(np.asarray(found.weights))
    return distance.to(queries.device, queries.dtype), weights.to(queries.device, queries.dtype)


@_hull_distance.register_fake
def _(queries: Tensor, vertices: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    return queries.new_empty(queries.shape[0]), queries.new_empty(queries.shape[0], vertices.shape[0])


def _setup(ctx: Any, inputs: tuple[Tensor, Tensor, float], output: tuple[Tensor, Tensor]) -> None:
    queries, vertices, _ = inputs
    distance, weights = output
    ctx.mark_non_differentiable(weights)
    ctx.save_for_backward(queries, vertices, distance, weights)


def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None]:
    # Envelope theorem: the optimal weights' own change does not change the distance to first order.
    queries, vertices, distance, weights = ctx.saved_tensors
    outward = queries - weights @ vertices
    unit = outward / distance.clamp_min(torch.finfo(distance.dtype).tiny)[:, None]
    scaled = torch.where(distance[:, None] > 0, unit, torch.zeros_like(unit)) * grad[:, None]
    return scaled, -weights.t() @ scaled, None


_hull_distance.register_autograd(_backward, setup_context=_setup)


def hull_distance(queries: Tensor, vertices: Tensor, beta: float = 0.0) -> tuple[Tensor, Tensor]:
    """Euclidean distance to the (dilated) hull, and the weights of the nearest points.

    Args:
        queries: [n, d] float32 or float64, on any device (computed on the CPU).
        vertices: [m, d], same type and device.
        beta: weights sum to 1 and each is >= -beta.

    Returns:
        distance [n], with gradients to queries and vertices (zero where a query lies in the hull), and weights [n, m],
        which carry none.

    Raises:
        UsageError: types that differ, and as :func:`everface.engine.ops.hull.project_to_hull`.
    """
    if queries.dtype != vertices.dtype or not queries.is_floating_point():
        found = f"{queries.dtype} and {vertices.dtype}"
        raise UsageError("queries and vertices", expected="one floating type", found=found)
    distance, weights = _hull_distance(queries, vertices, float(beta))
    return distance, weights
