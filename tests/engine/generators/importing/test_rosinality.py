"""rosinality's names and conventions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from everface.bench.torture.lookalikes import rosinality_names, tiny_generator
from everface.engine.errors import CheckpointError
from everface.engine.generators.importing.rosinality import convert_rosinality
from everface.engine.generators.importing.tensors import Array
from everface.engine.generators.stylegan2.generator import Generator


@pytest.fixture(scope="module")
def generator() -> Generator:
    return tiny_generator(conv_clamp=None)


def names(generator: Generator) -> dict[str, Array]:
    return {name: value.numpy() for name, value in rosinality_names(generator).items()}


def test_weights_come_back_in_nvidias_conventions(generator: Generator) -> None:
    found = convert_rosinality(names(generator), generator.mapping.w_avg.numpy())
    assert found.notes == ()
    for name, value in generator.state_dict().items():
        np.testing.assert_allclose(found.tensors[name], value.numpy(), rtol=1e-6, err_msg=name)


def test_without_mean_or_noise_it_gets_seeded_ones(generator: Generator) -> None:
    source = {name: value for name, value in names(generator).items() if not name.startswith("noises.")}
    first, second = (convert_rosinality(source, None) for _ in range(2))
    w = generator.mapping(torch.randn(20_000, 8, generator=torch.Generator().manual_seed(5)))
    mean, deviation = w.mean(0).detach().numpy(), w.std(0).max().item()
    # Means of 10,000 and of 20,000 samples: five standard deviations of their difference.
    assert np.abs(first.tensors["mapping.w_avg"] - mean).max() < 5 * deviation * (1 / 10_000 + 1 / 20_000) ** 0.5
    assert all(np.array_equal(value, second.tensors[name]) for name, value in first.tensors.items())
    notes = " ".join(first.notes)
    assert "no mean of W" in notes and "no constant noise" in notes


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("input.input", None, "a tensor named input.input"),
        ("conv1.conv.weight", np.zeros((3, 3), np.float32), "of 5 dimensions"),
        ("to_rgbs.0.upsample.kernel", np.ones((4, 4), np.float32), "resampling filter"),
    ],
)
def test_other_tensors_are_refused(generator: Generator, name: str, value: Array | None, told: str) -> None:
    source = names(generator)
    source.pop(name, None)
    if value is not None:
        source[name] = value
    with pytest.raises(CheckpointError, match=told):
        convert_rosinality(source, None)
