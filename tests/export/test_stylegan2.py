"""Constants that are folded into the graph's weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from everface.engine.generators.stylegan2.generator import Generator
from everface.export.stylegan2 import Affine, _phases


@pytest.mark.parametrize("index", [0, 1, 2])
def test_an_affine_layer_gives_the_styles_of_its_convolution(generator: Generator, index: int) -> None:
    layer = generator.weights().synthesis().layers[index]
    block = generator.synthesis.blocks()[(index + 1) // 3]
    module = block.get_submodule(layer.name.split(".")[1])
    w = torch.randn(3, 24, generator=torch.Generator().manual_seed(1))
    wanted = module.affine(w) * getattr(module, "weight_gain", 1.0)  # type: ignore[operator]
    affine = Affine.of(layer)
    np.testing.assert_allclose(w.numpy() @ affine.matrix + affine.bias, wanted.numpy(), atol=1e-5)


def test_four_phases_are_a_transposed_convolution() -> None:
    rng = torch.Generator().manual_seed(2)
    x, weight = (torch.randn(*shape, generator=rng, dtype=torch.float64) for shape in ((1, 3, 5, 5), (4, 3, 3, 3)))
    wanted = torch.nn.functional.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    phases = torch.nn.functional.conv2d(x, torch.from_numpy(_phases(weight.numpy())), padding=1)
    # DepthToSpace: phases lie along channels, row phase first.
    n, channels, height, width = phases.shape
    parts = phases.reshape(n, 2, 2, channels // 4, height, width).permute(0, 3, 4, 1, 5, 2)
    found = parts.reshape(n, channels // 4, 2 * height, 2 * width)
    torch.testing.assert_close(found[..., :11, :11], wanted)
    assert not found[..., 11:, :].any() and not found[..., 11:].any()
