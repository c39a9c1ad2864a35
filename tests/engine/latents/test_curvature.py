"""Coordinates of W: curvature of a known map, even steps, a faster search, files, bad input."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from everface.engine.config import InvertConfig
from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.bases import load_base
from everface.engine.generators.stylegan2 import Generator
from everface.engine.generators.tensors import pack_tensors
from everface.engine.latents.curvature import (
    coordinates_from_bytes,
    coordinates_of,
    coordinates_to_bytes,
    measure_curvature,
)
from everface.engine.latents.invert import invert
from everface.engine.latents.space import normal_z, w_statistics
from everface.engine.perception.losses import ReconstructionLoss


@pytest.fixture(scope="module")
def generator(tiny_base: Path) -> Generator:
    return load_base(str(tiny_base)).generator


@pytest.fixture(scope="module")
def curvature(generator: Generator, quick_loss: ReconstructionLoss) -> Tensor:
    return measure_curvature(generator.synthesis, quick_loss, generator.mapping(normal_z(1000, 32, 5)).detach())


def test_curvature_tells_how_much_the_loss_rises(
    generator: Generator, quick_loss: ReconstructionLoss, curvature: Tensor
) -> None:
    # Near its minimum a loss of squared differences is d' J' J d, so H's form must predict it, averaged over codes.
    codes = generator.mapping(normal_z(60, 32, 6)).detach()
    targets = quick_loss.prepare(generator.synthesis(codes).detach())
    _, vectors = torch.linalg.eigh(curvature)
    for k, size in ((0, 0.02), (16, 0.02), (31, 0.01)):
        step = (size * vectors[:, k]).float()
        with torch.no_grad():
            rise = float(quick_loss(generator.synthesis(codes + step), targets).mean())
        predicted = float(step.double() @ curvature @ step.double())
        assert 0.5 < rise / predicted < 2, (k, rise, predicted)


def test_coordinates_even_out_the_curvature(curvature: Tensor) -> None:
    found = coordinates_of(curvature).double()
    torch.testing.assert_close(found, found.T)
    before, after = (torch.linalg.eigvalsh(matrix) for matrix in (curvature, found @ curvature @ found))
    assert after[-1] / after.mean() < 0.3 * before[-1] / before.mean()
    assert float(torch.linalg.eigvalsh(found).square().mean()) ** 0.5 == pytest.approx(6.0, rel=1e-3)


def test_a_search_in_them_arrives_sooner(
    generator: Generator, quick_loss: ReconstructionLoss, curvature: Tensor
) -> None:
    mean = w_statistics(generator, 200).mean
    targets = quick_loss.prepare(generator.synthesis(generator.mapping(normal_z(6, 32, 9))).detach())
    config = InvertConfig(15, 0.1)
    plain = invert(generator, quick_loss, targets, mean, config)
    found = invert(generator, quick_loss, targets, mean, config, coordinates=coordinates_of(curvature))
    assert found.losses.mean() < 0.9 * plain.losses.mean()


def test_layers_of_w_plus_move_by_themselves(
    generator: Generator, quick_loss: ReconstructionLoss, curvature: Tensor
) -> None:
    start = w_statistics(generator, 200).mean.expand(2, generator.config.num_ws, -1)
    targets = quick_loss.prepare(torch.zeros(2, 3, 16, 16))
    found = invert(generator, quick_loss, targets, start, InvertConfig(3), coordinates=coordinates_of(curvature))
    assert found.codes.shape == start.shape
    assert (found.codes[:, 0] - found.codes[:, 1]).abs().max() > 1e-3


def test_files_are_bound_to_their_base(curvature: Tensor) -> None:
    found = coordinates_of(curvature)
    data = coordinates_to_bytes(found, "a" * 64)
    torch.testing.assert_close(coordinates_from_bytes(data, "file", "a" * 64), found, rtol=1e-3, atol=1e-3)
    with pytest.raises(CheckpointError, match="measure them anew"):
        coordinates_from_bytes(data, "file", "b" * 64)
    for bad in (b"", data[:100], pack_tensors({"other": found}, {"base_sha256": "a" * 64})):
        with pytest.raises(CheckpointError, match="coordinates of a base"):
            coordinates_from_bytes(bad, "file", "a" * 64)
    with pytest.raises(CheckpointError, match="square"):
        coordinates_from_bytes(coordinates_to_bytes(found[:4], "a" * 64), "file", "a" * 64)


def test_bad_input_is_refused(generator: Generator, quick_loss: ReconstructionLoss) -> None:
    with pytest.raises(UsageError, match="codes"):
        measure_curvature(generator.synthesis, quick_loss, torch.zeros(0, 32))
    for bad in (torch.zeros(3, 3), torch.ones(2, 3), torch.full((2, 2), float("nan"))):
        with pytest.raises(UsageError, match="curvature"):
            coordinates_of(bad)
    targets = quick_loss.prepare(torch.zeros(1, 3, 16, 16))
    with pytest.raises(UsageError, match="coordinates"):
        invert(generator, quick_loss, targets, torch.zeros(32), InvertConfig(1), coordinates=torch.eye(5))
