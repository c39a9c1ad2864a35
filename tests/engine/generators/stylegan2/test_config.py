"""Shapes of a StyleGAN2: what follows from them, what is none."""

from __future__ import annotations

import pytest

from everface.engine.errors import UsageError
from everface.engine.generators.stylegan2.config import StyleGAN2Config


def test_what_follows_from_a_shape() -> None:
    config = StyleGAN2Config(resolution=64, channel_base=1024, channel_max=48)
    assert config.block_resolutions == (4, 8, 16, 32, 64)
    assert config.num_ws == 10
    assert [config.channels(side) for side in config.block_resolutions] == [48, 48, 48, 32, 16]


@pytest.mark.parametrize("wrong", [{"resolution": 4}, {"resolution": 24}, {"resolution": 2048}, {"w_dim": 0}])
def test_impossible_shapes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        StyleGAN2Config(**wrong)
