"""Hull geometry: which point of a convex hull is nearest, and how well a few latents cover many.

The reference implementations are in ``everface.engine.ops.hull.reference``; the CPU kernels are active-set methods
on Gram matrices (cpp_ext/hull).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface import _native
from everface.engine.errors import NumericalError, UsageError
from everface.engine.ops.dispatch import choose
from everface.engine.ops.hull.device import device_rows, on_cuda
from everface.engine.ops.hull.reference import project_reference
from everface.engine.ops.hull.scores import PoolScorer, hull_scores, simplex_log_volumes
from everface.engine.ops.hull.types import Projection, ProjectOptions, SparseWeights, thread_count

__all__ = [
    "Hull",
    "PoolScorer",
    "ProjectOptions",
    "Projection",
    "SparseWeights",
    "hull_scores",
    "project_to_hull",
    "simplex_log_volumes",
]

Floats = NDArray[np.float32] | NDArray[np.float64]
_DEFAULT = ProjectOptions()
_MANY_QUERIES = 8  # from so many on, packing the vertices and projecting to the affine hull first pays
_LARGE_HULL = 1 << 18  # numbers in the vertices from which on one query's hull is worth several threads


def _rows(name: str, array: object, dtype: np.dtype[np.generic] | None = None) -> Floats:
    """The array or CPU tensor as C-contiguous [rows, columns] in float32 or float64."""
    try:
        rows = np.asarray(array)
    except (TypeError, ValueError, RuntimeError) as error:  # a CUDA tensor, ragged lists, a tensor with gradients
        raise UsageError(name, expected="an array [rows, dimensions]", found=str(error)) from error
    if rows.ndim != 2:
        raise UsageError(name, expected="an array [rows, dimensions]", found=f"shape {rows.shape}")
    if rows.dtype.kind not in "fiu":
        raise UsageError(name, expected="real numbers", found=f"type {rows.dtype}")
    if dtype is None:
        dtype = rows.dtype if rows.dtype == np.float32 else np.dtype(np.float64)
    return np.ascontiguousarray(rows, dtype=dtype)


def _check_vertices(vertices: Floats) -> None:
    m, d = vertices.shape
    if not 1 <= m <= 8192 or d < 1:
        raise UsageError("vertices", expected="1 to 8192 rows of at least 1 number", found=f"shape {vertices.shape}")


def _check_dimensions(queries: Floats, d: int) -> None:
    if queries.shape[1] != d:
        raise UsageError("queries", expected=f"an array [n, {d}]", found=f"shape {queries.shape}")


def _check_beta(beta: float) -> float:
    if not 0.0 <= beta < 1e6:
        raise UsageError("beta", expected="0 to 1e6", found=repr(beta), remedy="MyStyle uses 0.02")
    return float(beta)


class Hull:
    """A convex hull prepared once for many queries.

    Args:
        vertices: [m, d] float32 or float64, m up to 8192; other types are taken as float64.
        beta: how far the hull is dilated: weights sum to 1 and each is >= -beta (MyStyle's P_beta; 0 is the hull).
        options: see ``ProjectOptions``.

    Raises:
        UsageError: shapes, types or numbers outside this contract; NaN or infinity.
    """

    def __init__(self, vertices: object, beta: float = 0.0, options: ProjectOptions = _DEFAULT) -> None:
        corners = _rows("vertices", vertices)
        _check_vertices(corners)
        self.beta, self.options, self.dtype = _check_beta(beta), options, corners.dtype
        self._threads = thread_count(options.threads)
        try:
            self._native = _native.PreparedHull(corners, self.beta, self._threads)
        except ValueError as error:
            raise _not_finite(error) from error

    @property
    def shape(self) -> tuple[int, int]:
        """(vertices, dimensions)."""
        return self._native.vertex_count, self._native.dimension

    def project(self, queries: object) -> Projection:
        """The nearest point of the hull for each query.

        Args:
            queries: [n, d], taken in the vertices' type.

        Returns:
            ``Projection``.

        Raises:
            UsageError: shapes that do not fit; NaN, infinity or overflow, naming the first such query.
            NumericalError: a gap could not be brought within the tolerance.
        """
        rows = _rows("queries", queries, self.dtype)
        _check_dimensions(rows, self.shape[1])
        tolerance = self.options.gap(self.dtype)
        return _checked(self._native.project(rows, tolerance, self._threads, self.options.weights), tolerance)

    def stream(self, blocks: Iterable[object]) -> Iterator[Projection]:
        """Projects blocks of queries one after another, so that any number of them takes bounded memory."""
        for block in blocks:
            yield self.project(block)


def _not_finite(error: ValueError) -> UsageError:
    return UsageError(str(error), remedy="remove the rows that are not finite")


def _checked(found: tuple[Any, NDArray[np.floating], NDArray[np.float64], int], tolerance: float) -> Projection:
    """What the native projection found, if all of it is finite and certified."""
    kept, distance, gap, lost = found
    if lost >= 0:
        raise UsageError(f"queries[{lost}]", expected="finite numbers", found="NaN, infinity or overflow")
    _check_gap(gap, tolerance)
    return Projection(SparseWeights(*kept) if isinstance(kept, tuple) else kept, distance, gap)


def _project_few(points: Floats, corners: Floats, beta: float, options: ProjectOptions) -> Projection:
    """A few queries in one native call: inside an interactive edit every microsecond counts."""
    _check_vertices(corners)
    _check_dimensions(points, corners.shape[1])
    beta, tolerance = _check_beta(beta), options.gap(corners.dtype)
    alone = len(points) == 1 and corners.size <= _LARGE_HULL
    threads = 1 if alone else thread_count(options.threads)
    try:
        found = _native.hull_project_few(corners, beta, points, tolerance, threads, options.weights)
    except ValueError as error:
        raise _not_finite(error) from error
    return _checked(found, tolerance)


def _check_gap(gap: NDArray[np.float64], tolerance: float) -> None:
    if gap.size and not gap.max() <= tolerance:
        worst = int(np.argmax(np.where(np.isnan(gap), np.inf, gap)))
        raise NumericalError(
            f"query {worst}",
            expected=f"a relative gap of at most {tolerance:g}",
            found=f"{gap[worst]:.2g}",
            remedy="use float64, remove near-duplicate vertices, or raise options.tolerance",
        )


def project_to_hull(
    queries: object,
    vertices: object,
    beta: float = 0.0,
    *,
    options: ProjectOptions = _DEFAULT,
    impl: str = "auto",
) -> Projection:
    """Nearest points of a convex hull, exact to a certified duality gap.

    Minimises |q - sum w_i v_i| over weights that sum to 1, each >= -beta. For many calls with the same vertices, keep a
    ``Hull``.

    Args:
        queries: [n, d]; float32 (when the vertices are too) or float64.
        vertices: [m, d].
        beta: dilation of the hull, 0 for the hull itself.
        options: tolerance, threads, and which weights to return.
        impl: ``"auto"`` (where the queries are), ``"reference"``, ``"cpu"`` or ``"cuda"``; a named one never falls back
            to another.

    Arrays and CPU tensors without gradients may be given to any of them; CUDA tensors to ``"cuda"``, which reads them
    where they are. Results are arrays.

    Returns:
        ``Projection``.

    Raises:
        UsageError: shapes, types or numbers outside this contract.
        NumericalError: a gap could not be brought within the tolerance.
        MissingBackendError: ``impl="cuda"`` without a CUDA device.
    """
    chosen = choose("project_to_hull", impl, "cuda" if on_cuda(queries) else "cpu")
    if chosen == "cuda":
        return _project_cuda(queries, vertices, beta, options)
    corners = _rows("vertices", vertices)
    points = _rows("queries", queries)
    if points.dtype != corners.dtype:
        points, corners = points.astype(np.float64), corners.astype(np.float64)
    if chosen == "reference":
        return _reference(points, corners, _check_beta(beta), options)
    if len(points) < _MANY_QUERIES:
        return _project_few(points, corners, beta, options)
    return Hull(corners, beta, options).project(points)


def _project_cuda(queries: object, vertices: object, beta: float, options: ProjectOptions) -> Projection:
    corners = _rows("vertices", vertices.cpu() if on_cuda(vertices) else vertices)  # type: ignore[attr-defined]
    _check_vertices(corners)
    beta = _check_beta(beta)
    with device_rows(queries, corners.shape[1]) as (rows, narrow):
        dtype = corners.dtype if narrow else np.dtype(np.float64)
        tolerance = options.gap(dtype)
        try:
            found = _native.hull_project_cuda(corners.astype(np.float64), beta, rows, tolerance)
        except ValueError as error:
            raise _not_finite(error) from error
    _check_gap(found[2], tolerance)
    return _kept(*found, beta, options, dtype)


def _reference(points: Floats, corners: Floats, beta: float, options: ProjectOptions) -> Projection:
    for name, rows in (("queries", points), ("vertices", corners)):
        if not np.isfinite(rows).all():
            raise UsageError(name, expected="finite numbers", found="NaN or infinity")
    _check_dimensions(points, corners.shape[1])
    weights, distance, gap = project_reference(points, corners, beta)
    _check_gap(gap, options.gap(points.dtype))
    return _kept(weights, distance, gap, beta, options, points.dtype)


def _kept(
    weights: NDArray[np.float64],
    distance: NDArray[np.float64],
    gap: NDArray[np.float64],
    beta: float,
    options: ProjectOptions,
    dtype: np.dtype[np.generic],
) -> Projection:
    """Dense float64 results in the form and type that were asked for."""
    kept: NDArray[np.floating] | SparseWeights | None = weights.astype(dtype)
    if options.weights == "sparse":
        rows, index = np.nonzero(weights > -beta)
        begin = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(weights)))]).astype(np.int64)
        kept = SparseWeights(begin, index.astype(np.int32), (weights[rows, index] + beta).astype(dtype))
    return Projection(None if options.weights == "none" else kept, distance.astype(dtype), gap)
