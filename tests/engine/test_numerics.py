"""Denormals are flushed to zero within the block, and kept outside it."""

from __future__ import annotations

import torch

from everface.engine.numerics import compute_dtype, fast_numerics


def test_denormals_vanish_within_the_block_only() -> None:
    small = torch.tensor([1e-30])
    with fast_numerics():
        assert (small * 1e-10).item() == 0
    assert (small * 1e-10).item() > 0


def test_the_precision_is_one_of_two() -> None:
    assert compute_dtype() in (torch.bfloat16, torch.float32)
