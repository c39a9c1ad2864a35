"""The shape of a StyleGAN2 as its tensors tell it."""

from __future__ import annotations

import numpy as np
import pytest

from everface.engine.errors import CheckpointError
from everface.engine.generators.importing.network import FIR, check_filters, config_of
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.weights import array_shapes

CONFIGS = (
    StyleGAN2Config(32, 12, 10, 0, 3, 256, 16),
    StyleGAN2Config(8, 6, 10, 25, 1, 64, 4096, 12, conv_clamp=256.0),
)


@pytest.mark.parametrize("config", CONFIGS)
def test_shapes_tell_the_configuration(config: StyleGAN2Config) -> None:
    shapes = array_shapes(config)
    found = config_of(shapes, config.conv_clamp)
    assert array_shapes(found) == shapes
    assert found.c_dim == config.c_dim and found.z_dim == config.z_dim


def test_without_a_mapping_z_is_like_w() -> None:
    shapes = {name: shape for name, shape in array_shapes(CONFIGS[0]).items() if name.startswith("synthesis.")}
    assert config_of(shapes, None).z_dim == 10


@pytest.mark.parametrize(
    ("name", "shape", "told"),
    [
        ("synthesis.b8.conv1.weight", None, "blocks of 4, 8"),
        ("synthesis.b4.conv1.affine.weight", (16,), "at least 2 dimensions"),
        ("synthesis.b4.torgb.weight", (9999, 16, 1, 1), "1 to 4096"),
        ("synthesis.b16.conv1.weight", (5, 16, 3, 3), "channels at 16 pixels"),
    ],
)
def test_other_shapes_are_refused(name: str, shape: tuple[int, ...] | None, told: str) -> None:
    shapes = array_shapes(CONFIGS[0])
    if shape is None:
        del shapes[name]
    else:
        shapes[name] = shape
    with pytest.raises(CheckpointError, match=told):
        config_of(shapes, None)


def test_other_filters_are_refused() -> None:
    check_filters({"synthesis.b8.resample_filter": FIR})
    with pytest.raises(CheckpointError, match="resampling filter"):
        check_filters({"synthesis.b8.resample_filter": np.roll(FIR, 1)})
