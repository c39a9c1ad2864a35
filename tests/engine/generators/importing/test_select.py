"""Which part of a checkpoint is the generator."""

from __future__ import annotations

import numpy as np
import pytest

from everface.engine.errors import CheckpointError
from everface.engine.generators.importing.network import FIR
from everface.engine.generators.importing.nvidia import from_tensors
from everface.engine.generators.importing.select import from_names, from_value, mapping_of
from everface.engine.generators.importing.tensors import Array
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.weights import array_shapes

CONFIG = StyleGAN2Config(16, 6, 6, 0, 2, 64, 8)


def tensors(config: StyleGAN2Config = CONFIG) -> dict[str, Array]:
    shapes = array_shapes(config)
    filters = {name: FIR for name in shapes if name.endswith("resample_filter")}
    return {name: np.ones(shape, np.float32) for name, shape in shapes.items()} | filters


@pytest.mark.parametrize("prefix", ["", "module.", "G_ema.", "g_ema.", "generator."])
def test_names_are_known_under_a_prefix(prefix: str) -> None:
    found = from_names({prefix + name: value for name, value in tensors().items()}, None)
    assert found.architecture == "stylegan2"
    assert found.settings["resolution"] == "16"
    assert any("conv_clamp" in note for note in found.notes)


def test_names_of_nobody_are_refused() -> None:
    with pytest.raises(CheckpointError, match="tensor names"):
        from_names({"weight": np.zeros(1, np.float32)}, None)
    with pytest.raises(CheckpointError, match="a dictionary of networks"):
        from_value([1, 2], 100)


def test_a_mapping_completes_a_synthesis_network_of_the_same_w() -> None:
    whole = from_tensors(tensors(), None, {"w_avg_beta": "0.995"})
    names = {name: value for name, value in tensors().items() if name.startswith("synthesis.")}
    part = from_tensors(names, None, {})
    assert part.architecture == "stylegan2-synthesis" and "--mapping" in part.notes[0]
    done = mapping_of(part, whole)
    assert done.architecture == "stylegan2"
    assert done.tensors.keys() == whole.tensors.keys()
    assert done.settings["mapping_layers"] == "2" and done.settings["w_avg_beta"] == "0.995"
    with pytest.raises(CheckpointError, match="leave --mapping out"):
        mapping_of(whole, whole)
    with pytest.raises(CheckpointError, match="a mapping network to W of 6"):
        mapping_of(part, from_tensors(tensors(StyleGAN2Config(16, 6, 8, 0, 2, 64, 8)), None, {}))
