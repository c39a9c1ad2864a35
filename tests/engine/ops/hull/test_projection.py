"""Projection onto hulls: optimality against an independent solver, invariances, degenerate and hostile input."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from everface import _native
from everface.engine.errors import MissingBackendError, UsageError
from everface.engine.ops.hull.projection import Hull, ProjectOptions, SparseWeights, project_to_hull

few = settings(max_examples=60, deadline=None, derandomize=True)


def nnls_weights(point, vertices):
    """The same problem by Lawson and Hanson, through the cone over the hull (scipy, another method)."""
    rows = np.vstack([(vertices - point).T, np.full(len(vertices), np.abs(vertices - point).max() or 1.0)])
    w, _ = nnls(rows, np.r_[np.zeros(vertices.shape[1]), rows[-1, 0]], maxiter=50 * len(vertices))
    return w / w.sum()


@st.composite
def problems(draw):
    m, d, n = draw(st.integers(1, 24)), draw(st.integers(1, 24)), draw(st.sampled_from([1, 2, 5, 8, 12]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    vertices = rng.normal(size=(m, d)) * 10 ** draw(st.floats(-3, 3)) + rng.normal(size=d) * draw(
        st.sampled_from([0, 3])
    )
    kind = draw(st.sampled_from(["outside", "inside", "face", "vertex", "far"]))
    if kind in ("inside", "face"):
        some = rng.choice(m, m if kind == "inside" else min(m, 3), replace=False)
        queries = rng.dirichlet(np.ones(len(some)), n) @ vertices[some]
    elif kind == "vertex":
        queries = vertices[rng.integers(m, size=n)]
    else:
        queries = vertices.mean(axis=0) + rng.normal(size=(n, d)) * np.abs(vertices).max() * (
            1e4 if kind == "far" else 1
        )
    if draw(st.booleans()):
        vertices = vertices[rng.integers(m, size=m)]  # duplicates
    return queries, vertices


def check_optimal(queries, vertices, beta, found, tolerance=1e-8, touching=1e-6):
    """KKT by plain NumPy: feasible weights, the stated distance, and no vertex beyond the supporting hyperplane."""
    queries, vertices, w = (np.asarray(a, dtype=np.float64) for a in (queries, vertices, found.weights))
    m = len(vertices)
    assert (w >= -beta - 1e-12 * (1 + m * beta)).all()
    assert np.allclose(w.sum(axis=1), 1, atol=1e-12 * (1 + m * beta))
    centre = vertices.mean(axis=0)
    corners = (1 + m * beta) * (vertices - centre)
    r = (queries - centre) - w @ (vertices - centre)
    distance = np.linalg.norm(r, axis=1)
    radius = np.linalg.norm(corners, axis=1).max()
    scale = np.maximum(distance, touching * radius)
    assert (
        np.abs(distance - found.distance) <= 1e-9 * scale + 1e-12 * (radius + np.linalg.norm(queries - centre))
    ).all()
    slack = np.maximum((r @ corners.T).max(axis=1) - (r * (queries - centre - r)).sum(axis=1), 0)
    slack -= np.minimum(slack, 4e-15 * radius * (radius + np.linalg.norm(queries - centre, axis=1)))  # w's last digits
    ratio = np.minimum(slack / np.maximum(distance**2, 1e-300), 1)
    gap = distance**2 * ratio * (2 - ratio)  # distance^2 minus the square of the hyperplane's distance
    assert (gap <= tolerance * scale**2).all()
    assert (found.gap <= tolerance).all()


@few
@given(problems(), st.sampled_from([0.0, 0.02, 0.5]))
def test_projection_is_optimal(problem, beta):
    queries, vertices = problem
    check_optimal(queries, vertices, beta, project_to_hull(queries, vertices, beta))


@few
@given(problems())
def test_projection_agrees_with_nnls(problem):
    queries, vertices = problem
    found = project_to_hull(queries, vertices)
    radius = np.linalg.norm(vertices - vertices.mean(axis=0), axis=1).max()
    for query, distance in zip(queries, found.distance, strict=True):
        other = np.linalg.norm(query - nnls_weights(query, vertices) @ vertices)
        span = radius + np.linalg.norm(query - vertices.mean(axis=0)) + np.abs(query).max()
        assert distance <= other + 1e-9 * span
        assert other <= distance + 1e-5 * span  # NNLS squares the condition number


@few
@given(problems(), st.integers(0, 2**32), st.sampled_from([1e-150, 1e-9, 1.0, 1e9, 1e140]))
def test_distance_is_invariant(problem, seed, scale):
    queries, vertices = problem
    rng = np.random.default_rng(seed)
    d = vertices.shape[1]
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    order = rng.permutation(len(vertices))
    shift = rng.normal(size=d) * np.abs(vertices).max()
    base = project_to_hull(queries, vertices).distance
    moved = project_to_hull((queries @ rotation + shift) * scale, (vertices @ rotation + shift)[order] * scale).distance
    span = np.abs(vertices).max() + np.abs(queries).max()
    assert np.allclose(moved / scale, base, rtol=1e-9, atol=1e-11 * span * np.sqrt(d))


@few
@given(problems(), st.sampled_from([0.0, 0.1]))
def test_implementations_agree(problem, beta):
    queries, vertices = problem
    reference = project_to_hull(queries, vertices, beta, impl="reference", options=ProjectOptions(tolerance=0.9))
    native = project_to_hull(queries, vertices, beta)
    span = np.abs(vertices - vertices.mean(axis=0)).max() + np.abs(queries - vertices.mean(axis=0)).max()
    assert np.allclose(native.distance, reference.distance, rtol=1e-7, atol=1e-6 * span)
    assert (native.distance <= reference.distance + 1e-10 * span * np.sqrt(vertices.shape[1])).all()


@pytest.mark.parametrize("isa", _native.hull_isas())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("m", "d"), [(1, 3), (7, 300), (33, 513), (70, 20)])
def test_every_instruction_set_agrees(isa, dtype, m, d):
    rng = np.random.default_rng(m)
    vertices, queries = rng.normal(size=(m, d)).astype(dtype), rng.normal(size=(21, d)).astype(dtype)
    tolerance = 1e-5 if dtype == np.float32 else 1e-8
    _, distance, gap, lost = _native.PreparedHull(vertices, 0.0, 2, isa).project(queries, tolerance, 2, "none")
    reference = project_to_hull(queries.astype(np.float64), vertices.astype(np.float64), impl="reference")
    assert lost == -1 and (gap <= tolerance).all()
    assert np.allclose(distance, reference.distance, rtol=1e-5 if dtype == np.float32 else 1e-9)


@pytest.mark.parametrize("where", ["outside", "inside", "face"])
@pytest.mark.parametrize("m", [10, 60])
def test_float32_is_certified(where, m):
    rng = np.random.default_rng(3)
    vertices = rng.normal(size=(m, 512)).astype(np.float32)
    some = 4 if where == "face" else m
    queries = rng.dirichlet(np.ones(some), 30) @ vertices[:some] if where != "outside" else rng.normal(size=(30, 512))
    found = project_to_hull(queries.astype(np.float32), vertices)
    assert found.weights.dtype == found.distance.dtype == np.float32
    w = found.weights.astype(np.float64)
    assert (w >= 0).all() and np.allclose(w.sum(axis=1), 1, atol=1e-5) and (found.gap <= 1e-5).all()
    exact = project_to_hull(queries.astype(np.float32).astype(np.float64), vertices.astype(np.float64))
    assert np.allclose(found.distance, exact.distance, rtol=1e-5, atol=1e-5 * 22)


def test_degenerate_hulls_are_exact():
    point = np.array([[3.0, 4.0]])
    assert project_to_hull(point, np.zeros((1, 2))).distance[0] == 5.0
    assert project_to_hull(point, np.zeros((9, 2))).distance[0] == 5.0
    line = np.linspace(-1, 1, 11)[:, None] * np.array([[1.0, 0.0]])
    assert np.isclose(project_to_hull(np.array([[0.25, 2.0]]), line).distance[0], 2.0)
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 32)] * 2), -1).reshape(-1, 2)
    found = project_to_hull(np.array([[0.5, 0.3], [2.0, 0.5], [2.0, 3.0]]), grid)
    assert np.allclose(found.distance, [0, 1, np.sqrt(5)], atol=1e-12)


def test_many_vertices_in_few_dimensions():
    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(300, 40))
    queries = np.concatenate([rng.normal(size=(5, 40)) * 3, rng.dirichlet(np.ones(300), 5) @ vertices])
    check_optimal(queries, vertices, 0.0, project_to_hull(queries, vertices))


def test_sparse_weights_give_the_same_points():
    rng = np.random.default_rng(1)
    vertices, queries = rng.normal(size=(40, 64)), rng.normal(size=(50, 64))
    dense = project_to_hull(queries, vertices, 0.02).weights
    for impl in ("cpu", "reference"):
        sparse = project_to_hull(queries, vertices, 0.02, options=ProjectOptions(weights="sparse"), impl=impl).weights
        assert isinstance(sparse, SparseWeights)
        assert np.allclose(sparse.dense(40, 0.02), dense, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_are_arrays(dtype):
    generator = torch.Generator().manual_seed(0)
    vertices = torch.randn(9, 20, generator=generator, dtype=dtype)
    for n in (1, 12):
        queries = torch.randn(n, 20, generator=generator, dtype=dtype)
        found, expected = project_to_hull(queries, vertices), project_to_hull(queries.numpy(), vertices.numpy())
        assert (found.distance == expected.distance).all() and (found.weights == expected.weights).all()
    for bad in (vertices.requires_grad_(), torch.zeros(9, 20, dtype=torch.bfloat16)):
        with pytest.raises(UsageError, match=r"vertices: expected an array"):
            project_to_hull(queries.numpy(), bad)


def test_a_few_queries_and_many_find_the_same_points():
    rng = np.random.default_rng(5)
    for m, d in ((1, 3), (30, 70), (200, 40)):
        vertices, queries = rng.normal(size=(m, d)), rng.normal(size=(9, d))
        many = project_to_hull(queries, vertices, 0.02)
        for i in range(9):
            alone = project_to_hull(queries[i : i + 1], vertices, 0.02)
            assert np.allclose(alone.distance, many.distance[i], rtol=1e-9, atol=1e-12)
            assert np.allclose(alone.weights[0] @ vertices, many.weights[i] @ vertices, atol=1e-6)


def test_streaming_is_the_same_as_at_once():
    rng = np.random.default_rng(2)
    vertices, queries = rng.normal(size=(12, 30)), rng.normal(size=(100, 30))
    hull = Hull(vertices, options=ProjectOptions(weights="none", threads=2))
    parts = list(hull.stream(queries[i : i + 33] for i in range(0, 100, 33)))
    assert all(part.weights is None for part in parts)
    assert np.allclose(np.concatenate([part.distance for part in parts]), hull.project(queries).distance, rtol=1e-12)


def test_empty_and_odd_arrays():
    vertices = np.random.default_rng(0).normal(size=(5, 8))
    empty = project_to_hull(np.empty((0, 8)), vertices)
    assert empty.weights.shape == (0, 5) and empty.distance.shape == (0,)
    strided = np.asfortranarray(np.repeat(vertices, 2, axis=0))[::2]
    assert np.allclose(project_to_hull(strided, vertices).distance, 0, atol=1e-14)
    assert project_to_hull(np.ones((1, 8), dtype=int), vertices).distance.dtype == np.float64


@pytest.mark.parametrize(
    ("queries", "vertices", "beta", "words"),
    [
        (np.full((3, 4), np.nan), np.eye(4), 0.0, r"queries\[0\].*NaN"),
        (np.r_[np.zeros((2, 4)), np.full((1, 4), np.inf)], np.eye(4), 0.0, r"queries\[2\]"),
        (np.zeros((1, 4)), np.full((3, 4), np.nan), 0.0, "vertices.*NaN"),
        (np.zeros((1, 4)), np.zeros((0, 4)), 0.0, "vertices"),
        (np.zeros((1, 3)), np.eye(4), 0.0, r"queries: expected an array \[n, 4\]"),
        (np.zeros(4), np.eye(4), 0.0, "queries"),
        (np.zeros((1, 4)), np.eye(4), -0.1, "beta"),
        (np.zeros((1, 4)), np.eye(4), np.nan, "beta"),
        (np.zeros((1, 4), dtype=complex), np.eye(4), 0.0, "real numbers"),
    ],
)
def test_bad_input_is_named(queries, vertices, beta, words):
    with pytest.raises(UsageError, match=words):
        project_to_hull(queries, vertices, beta)


def test_an_explicit_backend_never_falls_back():
    with pytest.raises(UsageError, match="impl"):
        project_to_hull(np.zeros((1, 2)), np.eye(2), impl="gpu")
    if _native.cuda_status()[0]:
        pytest.skip("a CUDA device is present, so impl='cuda' has nothing to refuse")
    with pytest.raises(MissingBackendError, match="CUDA"):
        project_to_hull(np.zeros((1, 2)), np.eye(2), impl="cuda")


def test_arguments_are_not_changed():
    rng = np.random.default_rng(0)
    vertices, queries = rng.normal(size=(6, 9)), rng.normal(size=(4, 9))
    copies = [a.copy() for a in (vertices, queries)]
    project_to_hull(queries, vertices, 0.1)
    assert all((a == b).all() for a, b in zip((vertices, queries), copies, strict=True))


@pytest.mark.parametrize("nearness", [1e-4, 1e-7, 1e-9, 1e-12])
def test_near_duplicates_are_certified(nearness):
    rng = np.random.default_rng(4)
    vertices = np.repeat(rng.normal(size=(12, 60)), 3, axis=0) + nearness * rng.normal(size=(36, 60))
    weights = rng.dirichlet(np.ones(36), 6)
    queries = np.concatenate([weights @ vertices, weights @ vertices + 1e-8, rng.normal(size=(6, 60)), vertices[:3]])
    check_optimal(queries, vertices, 0.0, project_to_hull(queries, vertices))
