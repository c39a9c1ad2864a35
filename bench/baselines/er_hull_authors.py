"""ER-Hull's selection as the paper's authors compute it: PCA, Qhull and a constrained minimisation for every point.

A clean reimplementation from the description of their procedure (Wang, Qi, Sengupta, WACV 2025), to measure against.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.spatial import ConvexHull

Array = NDArray[np.float64]


def _hull_planes(points: Array) -> tuple[Array, Array]:
    """The hull of [b, b - 1] points as A x + c <= 0."""
    if points.shape[1] == 1:
        low, high = points.min(), points.max()
        return np.array([[1.0], [-1.0]]), np.array([-high, low])
    equations = ConvexHull(points).equations
    return equations[:, :-1], equations[:, -1]


def _distance(point: Array, mean: Array, components: Array, planes: tuple[Array, Array]) -> float:
    normals, offsets = planes

    def objective(x: Array) -> float:
        return float(np.linalg.norm(point - (mean + x @ components)))

    inside = {"type": "ineq", "fun": lambda x: -(normals @ x + offsets)}
    solution = minimize(objective, np.zeros(len(components)), method="SLSQP", constraints=[inside])
    return float(solution.fun)


def authors_score(pool: Array, groups: NDArray[np.int64], subset: NDArray[np.int64], spread: Array) -> float:
    """ER-Hull's score of one candidate."""
    chosen = pool[subset]
    mean = chosen.mean(axis=0)
    components = np.linalg.svd(chosen - mean, full_matrices=False)[2][: len(subset) - 1]
    planes = _hull_planes((chosen - mean) @ components.T)
    per_timestamp = []
    for group in np.unique(groups):
        rest = [i for i in np.flatnonzero(groups == group) if i not in subset]
        if rest:
            per_timestamp.append(np.mean([_distance(pool[i], mean, components, planes) for i in rest]))
        else:
            per_timestamp.append(spread[groups == group].mean())
    return float(np.mean(per_timestamp))
