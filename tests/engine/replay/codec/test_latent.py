"""W codes in one byte a dimension."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everface.engine.errors import UsageError
from everface.engine.replay.codec.latent import code_bytes, dequantize, halves, quantize


@given(st.integers(1, 600), st.integers(0, 4), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
@settings(max_examples=60, deadline=None)
def test_w_codes_are_within_half_a_step(d: int, n: int, scale: float, shift: float) -> None:
    w = (np.random.default_rng(d).normal(size=(n, d)) * scale + shift).astype(np.float32)
    scale, levels = quantize(w)
    assert (scale.nbytes + levels.nbytes, levels.shape) == (n * code_bytes(d), (n, d))
    back = dequantize(scale, levels)
    if n:
        # Offset and step are rounded to 11 bits: the span that the steps divide is a little longer than that of w.
        span = np.ptp(w, axis=1, keepdims=True) * 1.001 + np.abs(w).max(axis=1, keepdims=True) * 2e-3 + 0.02
        assert (np.abs(back - w) <= 0.5 * span / 255 + 1e-5 * np.abs(w)).all()


def test_w_codes_refuse_what_they_cannot_hold() -> None:
    for bad in (np.full((1, 4), np.nan, np.float32), np.full((1, 4), 1e6, np.float32), np.zeros(4, np.float32)):
        with pytest.raises(UsageError, match="w"):
            quantize(bad)
    with pytest.raises(UsageError, match="view"):
        halves(np.array([1e6]), "view")
