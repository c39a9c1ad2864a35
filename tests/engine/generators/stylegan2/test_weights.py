"""A StyleGAN2 as arrays: the same names and shapes as the network, and the same file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.generators.stylegan2.weights import (
    StyleGAN2Weights,
    array_shapes,
    check_stylegan2,
    config_to_metadata,
)

SMALL = StyleGAN2Config(16, 12, 10, mapping_layers=3, channel_base=128, channel_max=16)


@pytest.mark.parametrize(
    "config", [SMALL, StyleGAN2Config(8, 4, 6, c_dim=25, mapping_layers=1, channel_base=64, img_channels=12)]
)
def test_names_and_shapes_are_those_of_the_network(config: StyleGAN2Config) -> None:
    generator = Generator(config)
    assert array_shapes(config) == {name: tuple(value.shape) for name, value in generator.state_dict().items()}
    state = {name: value.numpy() for name, value in generator.state_dict().items()}
    assert StyleGAN2Weights(config, state).parameters().keys() == dict(generator.named_parameters()).keys()


def test_files_of_arrays_and_of_networks_are_the_same(tiny_base: Path) -> None:
    weights = StyleGAN2Weights.from_bytes(tiny_base.read_bytes(), "tiny")
    generator = Generator.from_weights(weights)
    assert (
        weights.to_bytes({"terms": "test data"}) == generator.to_bytes({"terms": "test data"}) == tiny_base.read_bytes()
    )
    generator.synthesis.b4.const.zero_()
    assert weights.arrays["synthesis.b4.const"].any()


def test_a_cut_is_that_of_the_network(tiny_base: Path) -> None:
    weights = StyleGAN2Weights.from_bytes(tiny_base.read_bytes(), "tiny")
    wanted = Generator.from_weights(weights).cut(8).state_dict()
    part = weights.cut(8)
    assert part.config.resolution == 8
    assert part.arrays.keys() == wanted.keys()
    assert all(np.array_equal(array, wanted[name].numpy()) for name, array in part.arrays.items())
    for side in (4, 12, 32):
        with pytest.raises(UsageError, match="resolution"):
            weights.cut(side)


def test_a_network_without_mapping_is_told_apart() -> None:
    arrays = {name: np.zeros(shape, np.float32) for name, shape in array_shapes(SMALL).items()}
    part = {name: array for name, array in arrays.items() if not name.startswith("mapping.")}
    check_stylegan2(config_to_metadata(SMALL), arrays, "file")
    check_stylegan2(config_to_metadata(SMALL), part, "file", mapping=False)
    with pytest.raises(CheckpointError, match=r"none named mapping\.fc0"):
        check_stylegan2(config_to_metadata(SMALL), part, "file")


def test_weights_too_large_for_half_precision_are_refused() -> None:
    arrays = {name: np.full(shape, 1e6, np.float32) for name, shape in array_shapes(SMALL).items()}
    with pytest.raises(CheckpointError, match="finite"):
        StyleGAN2Weights(SMALL, arrays).to_bytes({})
