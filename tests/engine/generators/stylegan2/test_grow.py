"""Growing a generator."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from everface.engine.errors import UsageError
from everface.engine.generators.bases import load_base
from everface.engine.generators.stylegan2.grow import grow
from everface.engine.ops.resample import upsample_2x


def test_a_grown_generator_begins_with_the_enlarged_picture_and_can_be_cut(tiny_base: Path) -> None:
    small = load_base(str(tiny_base)).generator
    w = small.mapping(torch.randn(2, 32, generator=torch.Generator().manual_seed(1)))
    grown = grow(small, 64)
    want = upsample_2x(upsample_2x(small.synthesis(w)))
    torch.testing.assert_close(grown.synthesis(w), want, rtol=0, atol=1e-6)
    torch.testing.assert_close(grown.cut(16).synthesis(w), small.synthesis(w), rtol=0, atol=0)
    with pytest.raises(UsageError, match="at least 16"):
        grow(small, 8)
