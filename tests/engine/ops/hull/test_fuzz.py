"""Hostile arguments to the native bindings: an error or a result, never a crash or a wrong answer."""

import numpy as np
import pytest
import torch

from everface import _native
from everface.engine.errors import EverfaceError, UsageError
from everface.engine.ops.hull.device import device_rows
from everface.engine.ops.hull.projection import ProjectOptions, hull_scores, project_to_hull, simplex_log_volumes

REFUSALS = (ValueError, TypeError, EverfaceError, MemoryError)


def odd_array(rng):
    plain = rng.random() < 0.6
    shape = (int(rng.integers(0, 7)), 3) if plain else tuple(rng.integers(0, 7, size=rng.integers(0, 4)).tolist())
    kind = "f8" if plain else str(rng.choice(["f8", "f4", "i8", "i4", "?", "c16", "O", ">f8"]))
    array = rng.normal(size=shape).astype(kind) if kind != "O" else np.empty(shape, dtype=object)
    if array.dtype.kind == "f" and array.size and rng.random() < 0.4:
        array.flat[rng.integers(array.size)] = rng.choice([np.nan, np.inf, -np.inf, 1e38, 1e-44, 0.0])
    if array.ndim == 2 and rng.random() < 0.15:
        array = array.T
    if array.ndim and rng.random() < 0.2:
        array = array[::2]
    if rng.random() < 0.05:
        return (None, "text", 3, [])[rng.integers(4)]
    return array


def test_native_bindings_survive_odd_arrays():
    rng = np.random.default_rng(0)
    survived = 0
    for _ in range(1500):
        try:
            hull = _native.PreparedHull(odd_array(rng), float(rng.choice([0, 0.1, -1, np.nan])), 2)
            _, distance, _, lost = hull.project(odd_array(rng), 1e-8, 2, str(rng.choice(["dense", "sparse", "?"])))
            assert lost >= 0 or np.isfinite(distance).all()
            survived += 1
        except REFUSALS:
            continue
    assert survived > 5


def test_native_pools_survive_odd_arrays():
    rng = np.random.default_rng(1)
    for _ in range(1500):
        n = int(rng.integers(1, 7))
        try:
            pool = rng.normal(size=(n, 4)) if rng.random() < 0.8 else odd_array(rng)
            groups = rng.integers(-1, 4, size=n).astype(np.int32)
            made = _native.HullPool(pool, groups, int(rng.integers(-1, 5)), rng.random(n), 2)
            subsets = rng.integers(-2, n + 2, size=(rng.integers(0, 4), rng.integers(0, 30))).astype(np.int64)
            for call in (made.scores, made.log_volumes, made.distances):
                call(subsets, 2)
            made.best(subsets, float(rng.choice([np.inf, 0.0, np.nan])), 2)
        except REFUSALS:
            continue


def test_public_functions_refuse_with_their_own_errors():
    rng = np.random.default_rng(2)
    for _ in range(600):
        try:
            project_to_hull(
                odd_array(rng), odd_array(rng), float(rng.choice([0, 0.02])), options=ProjectOptions(threads=1)
            )
        except EverfaceError:
            continue
    for _ in range(600):
        try:
            pool = rng.normal(size=(5, 3))
            hull_scores(pool, np.arange(5) % 2, rng.integers(-1, 6, size=(2, 2)), rng.random(5))
            simplex_log_volumes(pool, rng.integers(-1, 6, size=(2, 2)))
        except EverfaceError:
            continue


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu():
    available, why = _native.cuda_status()
    if not available:
        pytest.skip(f"no CUDA device: {why}")
    rng = np.random.default_rng(3)
    vertices, queries = rng.normal(size=(60, 200)), rng.normal(size=(300, 200))
    cpu, gpu = (project_to_hull(queries, vertices, 0.02, impl=impl) for impl in ("cpu", "cuda"))
    assert np.allclose(cpu.distance, gpu.distance, rtol=1e-9)
    groups, spread = np.arange(60) % 4, rng.random(60)
    subsets = np.stack([rng.choice(60, 7, replace=False) for _ in range(200)])
    scores = [hull_scores(vertices, groups, subsets, spread, impl=impl) for impl in ("cpu", "cuda")]
    assert np.allclose(*scores, rtol=1e-9)
    device = torch.from_numpy(queries).cuda()
    assert np.allclose(
        project_to_hull(device, torch.from_numpy(vertices).cuda(), 0.02).distance, cpu.distance, rtol=1e-9
    )
    narrow = project_to_hull(device.float(), vertices.astype(np.float32), 0.02)
    assert narrow.distance.dtype == np.float32 and np.allclose(narrow.distance, cpu.distance, rtol=1e-5)
    with pytest.raises(UsageError, match="queries"):
        project_to_hull(device, vertices, impl="cpu")


def test_rows_for_a_device_are_checked():
    """What of the CUDA path runs on a machine without a GPU: validation."""
    rows = np.arange(6.0).reshape(2, 3)
    with device_rows(rows, 3) as (given, narrow):
        assert given is rows and not narrow
    with device_rows(torch.ones(2, 3), 3) as (given, narrow):
        assert narrow and given.dtype == np.float64 and (given == 1).all()
    for bad in (
        np.full((1, 3), np.nan),
        np.ones((1, 3), dtype=complex),
        np.ones((1, 2)),
        torch.ones(1, 3, requires_grad=True),
        [[1], [2, 3]],
    ):
        with pytest.raises(UsageError, match="queries"), device_rows(bad, 3):
            pass
    if _native.cuda_status()[0]:
        pytest.skip("a CUDA device is present: its own test runs instead")
    with pytest.raises((RuntimeError, ValueError)):
        _native.hull_project_cuda(rows, 0.0, rows, 1e-8)
    with pytest.raises((RuntimeError, ValueError)):
        _native.hull_scores_cuda(rows, np.zeros(2, np.int32), 1, np.ones(2), np.zeros((1, 1), np.int64))
    for arguments in ((np.array([5, 0], np.int32), 1), (np.zeros(2, np.int32), 0), (np.zeros(3, np.int32), 1)):
        with pytest.raises(ValueError):
            _native.hull_scores_cuda(rows, *arguments, np.ones(2), np.zeros((1, 1), np.int64))
