"""Deltas: what a low rank keeps, what is refused."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.export.conftest import make_generator, quick_judge

from everface.engine.errors import CheckpointError, ExportError, UsageError
from everface.engine.generators.bases import Base
from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.generators.stylegan2.weights import StyleGAN2Weights
from everface.engine.generators.tensors import pack_tensors
from everface.engine.ops.synthesis.inference import PackedSynthesis
from everface.export.delta import apply_delta, export_delta, pack_delta
from everface.export.model2d import Model2D
from everface.export.recipe import ExportRecipe, Tolerance

Anchors = list[NDArray[np.float32]]


@pytest.fixture(scope="module")
def base() -> Base[Generator]:
    generator = make_generator(1, channel_base=1024, channel_max=64)
    return Base("base", "ab" * 32, "2d", {}, generator.to_bytes({}, np.float32))


def tuned(base: Base[Generator], rank: int) -> StyleGAN2Weights:
    """A personal generator whose convolutions changed by a product of that rank, and a bias."""
    personal = copy.deepcopy(base.generator)
    rng = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, value in personal.named_parameters():
            if value.ndim == 4 and value.numel() > 4096:
                rows, columns = value.shape[0], value[0].numel()
                left, right = torch.randn(rows, rank, generator=rng), torch.randn(rank, columns, generator=rng)
                value.add_((0.1 * left @ right).reshape(value.shape))
            if name.endswith("conv1.bias"):
                value.add_(0.125)
    return personal.weights()


def error(one: StyleGAN2Weights, two: StyleGAN2Weights) -> float:
    w = np.random.default_rng(3).standard_normal((4, 24), np.float32)
    a, b = (PackedSynthesis(weights.synthesis())(w) for weights in (one, two))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def test_changes_of_a_low_rank_are_kept(base: Base[Generator]) -> None:
    personal = tuned(base, rank=2)
    data = pack_delta(base, personal, 40_000)
    assert len(data) < 40_000
    assert error(base.weights, personal) > 0.1
    merged = apply_delta(base, data)
    assert error(merged, personal) < 0.01
    bias = "synthesis.b8.conv1.bias"
    np.testing.assert_array_equal(merged.arrays[bias], personal.arrays[bias])


def test_more_bytes_lose_less(base: Base[Generator]) -> None:
    personal = tuned(base, rank=40)
    sizes, errors = [], []
    for limit in (12_000, 30_000, 60_000):
        data = pack_delta(base, personal, limit)
        sizes.append(len(data))
        errors.append(error(apply_delta(base, data), personal))
        assert sizes[-1] <= limit
    assert sizes == sorted(sizes) and errors == sorted(errors, reverse=True)
    assert errors[2] < 0.7 * errors[0]
    with pytest.raises(ExportError, match="expected at most 1000 bytes"):
        pack_delta(base, personal, 1000)


def test_nothing_is_mutated_and_equal_models_have_equal_bytes(base: Base[Generator]) -> None:
    before = {name: array.copy() for name, array in base.weights.arrays.items()}
    personal = tuned(base, rank=1)
    data = pack_delta(base, personal, 30_000)
    assert data == pack_delta(base, personal, 30_000)
    apply_delta(base, data)
    assert all(np.array_equal(array, before[name]) for name, array in base.weights.arrays.items())


def test_another_base_and_damaged_files(base: Base[Generator]) -> None:
    data = pack_delta(base, tuned(base, rank=1), 30_000)
    other = Base("other", "cd" * 32, "2d", {}, base.data)
    with pytest.raises(CheckpointError, match="delta: expected one of the base cdcdcdcdcdcdcdcd, found abababab"):
        apply_delta(other, data)
    for bad in (b"", data[:50], data[:-10], b"\xff" * 100):
        with pytest.raises(CheckpointError):
            apply_delta(base, bad)
    told = {"kind": "everface-delta", "base_sha256": base.sha256}
    for tensors in (
        {"nothing": torch.zeros(3)},
        {"synthesis.b8.conv1.bias": torch.zeros(3)},
        {"synthesis.b8.conv1.weight.left": torch.zeros(1, 64, dtype=torch.int8)},
    ):
        with pytest.raises(CheckpointError, match="delta: "):
            apply_delta(base, pack_tensors(tensors, told))


def test_export_measures_what_is_lost(tmp_path: Path, base: Base[Generator], anchors: Anchors) -> None:
    personal, recipe = tuned(base, rank=2), ExportRecipe("delta", size_limit=0.04)
    report = export_delta(base, Model2D(personal, anchors), tmp_path / "me.delta", recipe, quick_judge)
    assert report.files[0].bytes == (tmp_path / "me.delta").stat().st_size <= 40_000
    assert 0 < report.files[0].parity.relative_error < 0.1
    strict = ExportRecipe("delta", size_limit=0.012, tolerance=Tolerance(max_error=1e-6))
    with pytest.raises(ExportError, match=r"delta: .*max_error .* > 1e-06; the file was not kept; allow more bytes"):
        export_delta(base, Model2D(personal, anchors), tmp_path / "no.delta", strict, quick_judge)
    assert [one.name for one in tmp_path.iterdir()] == ["me.delta"]
    with pytest.raises(UsageError, match="delta: expected no precision"):
        ExportRecipe("delta", precision="int8")
