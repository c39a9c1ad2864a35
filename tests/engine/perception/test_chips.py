"""The layers that are named are those of the packaged network."""

from __future__ import annotations

from safetensors import safe_open

from everface.engine.assets import asset_path
from everface.engine.perception.chips import CHIP_CENTRE, CHIP_WIDTH, RESIDUALS


def test_residual_blocks_are_those_of_the_file() -> None:
    with safe_open(asset_path("identity.safetensors"), "np") as file:
        blocks = {name.split(".")[0] for name in list(file.keys())}
    assert set(RESIDUALS) == blocks - {"conv32_down", "fc"}


def test_a_chip_lies_inside_the_picture() -> None:
    assert all(centre >= CHIP_WIDTH / 2 for centre in CHIP_CENTRE)
