"""Resampling of pictures by a matrix along each axis: cutting out and enlarging; without PyTorch."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
_BICUBIC = -0.75  # Keys's parameter as PyTorch has it


def resampled(images: NDArray[np.float32], rows: Matrix, columns: Matrix) -> NDArray[np.float32]:
    """``rows @ x @ columns.T`` of each channel x of images [n, h, w, c]."""
    tall = np.tensordot(images, rows, axes=(1, 1))  # [n, w, c, h']
    wide = np.tensordot(tall, columns, axes=(1, 1))  # [n, c, h', w']
    return np.ascontiguousarray(wide.transpose(0, 2, 3, 1), np.float32)


def cutting(side: int, count: int, centre: float, width: float, *, bicubic: bool) -> Matrix:
    """[count, side]: samples of a part of an axis, mirrored outside of it (PyTorch's grid_sample with reflection).

    Args:
        side: pixels of the axis.
        count: samples.
        centre, width: of the part, where the axis reaches from -1 to 1 at the outer edges of its pixels.
        bicubic: otherwise linear.
    """
    middles = width * ((2 * np.arange(count) + 1) / count - 1) + centre
    places = ((middles + 1) * side - 1) / 2
    matrix = np.zeros((count, side))
    for row, place in enumerate(places):
        at = place if bicubic else _reflected(place, side)
        first = math.floor(at)
        taps = range(first - 1, first + 3) if bicubic else range(first, first + 2)
        for tap in taps:
            weight = _cubic(abs(at - tap)) if bicubic else max(0.0, 1 - abs(at - tap))
            if bicubic:
                matrix[row, int(_reflected(tap, side))] += weight
            elif tap < side:
                matrix[row, tap] += weight
    return matrix.astype(np.float32)


def _reflected(place: float, side: int) -> float:
    """Mirrored at the outer edges of the first and the last pixel, and kept between their middles."""
    folded = abs(place + 0.5) % (2 * side)
    folded = 2 * side - folded if folded > side else folded
    return float(min(max(folded - 0.5, 0.0), side - 1))


def _cubic(x: float) -> float:
    a = _BICUBIC
    if x <= 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a if x < 2 else 0.0
