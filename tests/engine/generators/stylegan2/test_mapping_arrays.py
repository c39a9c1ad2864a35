"""The mapping network on arrays is the one in PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from everface.engine.errors import UsageError
from everface.engine.generators.bases import load_base
from everface.engine.generators.stylegan2.mapping_arrays import map_codes


def test_codes_agree(tiny_base: Path) -> None:
    base = load_base(str(tiny_base))
    z = np.random.default_rng(0).standard_normal((6, 32), np.float32)
    with torch.no_grad():
        expected = base.generator.mapping(torch.from_numpy(z)).numpy()
    np.testing.assert_allclose(map_codes(base.weights, z), expected, atol=1e-5)
    with pytest.raises(UsageError):
        map_codes(base.weights, z[:, :3])
