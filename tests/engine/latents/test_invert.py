"""Inversion finds codes whose pictures it has seen."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from everface.engine.config import InvertConfig
from everface.engine.errors import UsageError
from everface.engine.generators.bases import load_base
from everface.engine.generators.stylegan2 import Generator
from everface.engine.latents.invert import invert, reconstruction_losses
from everface.engine.latents.space import normal_z, w_statistics
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.progress import Progress


@pytest.fixture(scope="module")
def generator(tiny_base: Path) -> Generator:
    return load_base(str(tiny_base)).generator


@pytest.fixture(scope="module")
def loss(quick_loss: ReconstructionLoss) -> ReconstructionLoss:
    return quick_loss


def test_own_pictures_are_found_again(generator: Generator, loss: ReconstructionLoss) -> None:
    w = generator.mapping(normal_z(5, 32, 1))
    targets = loss.prepare(generator.synthesis(w))
    mean = w_statistics(generator, 200).mean
    heard: list[Progress] = []
    before = reconstruction_losses(generator, loss, targets, mean.expand(5, -1))
    found = invert(generator, loss, targets, mean, InvertConfig(60, 0.1, batch=2), on_progress=heard.append)
    assert found.codes.shape == (5, 32)
    assert (found.losses < 0.5 * before).all()
    assert heard[-1].done == heard[-1].total == 5 * 60
    assert heard[-1].seconds_left == pytest.approx(0)


def test_w_plus_does_at_least_as_well_from_w(generator: Generator, loss: ReconstructionLoss) -> None:
    targets = loss.prepare(torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    mean = w_statistics(generator, 200).mean
    start = invert(generator, loss, targets, mean, InvertConfig(20, 0.1))
    plus = start.codes[:, None].repeat(1, generator.config.num_ws, 1)
    found = invert(generator, loss, targets, plus, InvertConfig(30, 0.05))
    assert found.codes.shape == (2, generator.config.num_ws, 32)
    assert (found.losses < start.losses).all()


def test_a_deadline_ends_the_search(generator: Generator, loss: ReconstructionLoss) -> None:
    targets = loss.prepare(torch.zeros(3, 3, 16, 16))
    mean = w_statistics(generator, 200).mean
    began = time.monotonic()
    found = invert(generator, loss, targets, mean, InvertConfig(10_000, 0.1, batch=1), deadline=time.monotonic() + 0.3)
    assert time.monotonic() - began < 5
    assert torch.isfinite(found.codes).all()


def test_wrong_start_is_refused(generator: Generator, loss: ReconstructionLoss) -> None:
    targets = loss.prepare(torch.zeros(3, 3, 16, 16))
    with pytest.raises(UsageError, match="start"):
        invert(generator, loss, targets, torch.zeros(2, 32), InvertConfig(1))


def test_statistics_are_those_of_the_mapping(generator: Generator) -> None:
    found = w_statistics(generator, 500, seed=3)
    w = generator.mapping(normal_z(500, 32, 3))
    torch.testing.assert_close(found.mean, w.mean(dim=0))
    torch.testing.assert_close(found.covariance, torch.cov(w.t()))
