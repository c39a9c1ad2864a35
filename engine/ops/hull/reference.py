"""Hull geometry in plain NumPy: the meaning of the native kernels, and the fallback where they are not built."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_JITTER = 1e-14
_TOLERANCE = 1e-12


def _affine_minimiser(K: Array, free: NDArray[np.bool_]) -> Array:
    """Per problem, argmin of w K w with sum w = 1 and w = 0 where not free; K [p, b, b], free [p, b]."""
    b = K.shape[1]
    both = free[:, :, None] & free[:, None, :]
    scale = np.maximum(np.trace(K, axis1=1, axis2=2), np.finfo(np.float64).tiny)[:, None]
    system = np.where(both, K / scale[:, :, None], 0.0)
    diagonal = np.arange(b)
    # Duplicate and affinely dependent vertices make the system singular; the jitter picks one of the equal answers.
    system[:, diagonal, diagonal] += np.where(free, _JITTER * b, 1.0)
    full = np.zeros((len(K), b + 1, b + 1))
    full[:, :b, :b] = system
    full[:, :b, b] = full[:, b, :b] = free
    right = np.zeros((len(K), b + 1, 1))
    right[:, b] = 1.0
    return np.asarray(np.linalg.solve(full, right)[:, :b, 0], dtype=np.float64)


def simplex_qp(K: Array) -> Array:
    """Weights of the point of least norm in each simplex: argmin of w K w, w >= 0, sum w = 1.

    Wolfe's method ("Finding the nearest point in a polytope", 1976), all problems in step.

    Args:
        K: [p, b, b] Gram matrices of the vertices, seen from the query.

    Returns:
        [p, b] weights.
    """
    p, b = K.shape[:2]
    best = np.argmin(np.diagonal(K, axis1=1, axis2=2), axis=1)
    w = np.eye(b)[best]
    free = w > 0
    todo = np.arange(p)
    for _ in range(20 * b + 20):
        if not todo.size:
            break
        target = _affine_minimiser(K[todo], free[todo])
        current = w[todo]
        blocked = free[todo] & (target <= 0)
        shrink = np.where(blocked, current / np.maximum(current - target, 1e-300), np.inf)
        step = np.minimum(1.0, shrink.min(axis=1))
        moved = np.maximum(current + step[:, None] * (target - current), 0.0)
        inside = ~blocked.any(axis=1)
        drop = blocked & (shrink <= step[:, None] * (1 + 1e-12))
        moved[drop] = 0.0
        moved /= moved.sum(axis=1, keepdims=True)
        w[todo], free[todo] = moved, free[todo] & ~drop
        todo = _advance(K, w, free, todo, inside)
    return np.asarray(w, dtype=np.float64)


def _advance(
    K: Array, w: Array, free: NDArray[np.bool_], todo: NDArray[np.int64], inside: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Lets the most violating vertex into each problem that is at its face's minimum; returns the unfinished."""
    at = todo[inside]
    gradient = np.einsum("pij,pj->pi", K[at], w[at])
    value = np.einsum("pi,pi->p", gradient, w[at])
    entering = np.argmin(gradient, axis=1)
    rows = np.arange(len(at))
    size = np.trace(K[at], axis1=1, axis2=2)
    improves = (gradient[rows, entering] < value - _TOLERANCE * size) & ~free[at, entering]
    free[at[improves], entering[improves]] = True
    return np.asarray(np.concatenate([todo[~inside], at[improves]]), dtype=np.int64)


def project_reference(
    queries: NDArray[np.floating], vertices: NDArray[np.floating], beta: float
) -> tuple[Array, Array, Array]:
    """See ``everface.engine.ops.hull.projection.project_to_hull``; returns weights, distance and gap, all float64.

    Weights w = (1 + m beta) u - beta with u in the simplex turn the dilated hull into the hull of its own corners.
    """
    m = len(vertices)
    V = vertices.astype(np.float64)
    centre = V.mean(axis=0)
    stretch = 1.0 + m * beta
    V = (V - centre) * stretch
    Q = queries.astype(np.float64) - centre
    u = np.empty((len(Q), m))
    block = max(1, 4_000_000 // (m * m))
    for at in range(0, len(Q), block):
        to = V[None] - Q[at : at + block, None]
        u[at : at + block] = simplex_qp(to @ to.transpose(0, 2, 1))
    residual = Q - u @ V
    distance2 = (residual**2).sum(axis=1)
    slack = np.maximum((residual @ V.T - ((u @ V) * residual).sum(axis=1, keepdims=True)).max(axis=1), 0.0)
    ratio = np.minimum(slack / np.maximum(distance2, np.finfo(np.float64).tiny), 1.0)
    touching = 1e-3 if queries.dtype == np.float32 else 1e-6
    floor = touching**2 * (V**2).sum(axis=1).max()
    gap = distance2 * ratio * (2.0 - ratio) / np.maximum(np.maximum(distance2, floor), np.finfo(np.float64).tiny)
    return stretch * u - beta, np.sqrt(distance2), gap


def _distances(gram: Array, points: NDArray[np.int64], subset: NDArray[np.int64]) -> Array:
    """Distance of pool items to the hull of a subset, from the pool's Gram matrix; [k]."""
    cross = gram[np.ix_(points, subset)]
    own = np.diagonal(gram)[points]
    K = gram[np.ix_(subset, subset)][None] - cross[:, :, None] - cross[:, None, :] + own[:, None, None]
    w = simplex_qp(K)
    return np.asarray(np.sqrt(np.maximum(np.einsum("pi,pij,pj->p", w, K, w), 0.0)), dtype=np.float64)


def hull_scores_reference(
    pool: Array, groups: NDArray[np.int64], subsets: NDArray[np.int64], spread: Array
) -> NDArray[np.float64]:
    """See ``everface.engine.ops.hull.scores.hull_scores``."""
    centred = pool - pool.mean(axis=0)
    gram = centred @ centred.T
    names = np.unique(groups)
    scores = np.empty(len(subsets))
    for row, subset in enumerate(subsets):
        chosen = np.zeros(len(pool), dtype=bool)
        chosen[subset] = True
        rest = np.flatnonzero(~chosen)
        value = np.zeros(len(pool))
        if rest.size:
            value[rest] = _distances(gram, rest, subset)
        value[subset] = spread[subset]
        open_items = [np.flatnonzero((groups == name) & ~chosen) for name in names]
        scores[row] = np.mean(
            [
                value[items].mean() if items.size else spread[groups == name].mean()
                for name, items in zip(names, open_items, strict=True)
            ]
        )
    return scores


def simplex_volume_reference(pool: Array, subsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """See ``everface.engine.ops.hull.scores.simplex_log_volumes``."""
    edges = pool[subsets[:, 1:]] - pool[subsets[:, :1]]
    sign, logdet = np.linalg.slogdet(edges @ edges.transpose(0, 2, 1))
    return np.where(sign > 0, 0.5 * logdet, -np.inf)
