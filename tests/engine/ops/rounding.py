"""What rounding may add up to: bounds for tests, from the number of terms and the precision, for every processor."""

from __future__ import annotations

import math

import torch


def unit_roundoff(dtype: torch.dtype) -> float:
    """Largest relative error of one rounding: 2^-53 in float64, 2^-24 in float32, 2^-9 in bfloat16."""
    return torch.finfo(dtype).eps / 2


def bound(terms: int, dtype: torch.dtype, margin: float = 8) -> float:
    """Largest relative error of a sum of so many terms, beside the sum of their magnitudes.

    The margin is for what is done with the terms before they are summed, such as Winograd's transforms.
    """
    return margin * terms * unit_roundoff(dtype)


def typical(terms: int, dtype: torch.dtype, margin: float = 8) -> float:
    """The same of the norm of many such sums, where independent roundings add up in quadrature."""
    return margin * math.sqrt(terms) * unit_roundoff(dtype)
