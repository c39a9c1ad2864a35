"""Smooth warps of square pictures: points move, and what lies between them follows (thin plates, Bookstein 1989)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_STEP = 4  # the plate is evaluated at every fourth pixel: it bends less than that
_BORDER = 8  # points that hold each side of the picture
_STEPS_BACK = 10

Field = NDArray[np.float64]


def plate(points: Field, values: Field, side: int, smoothing: float) -> Field:
    """The smooth surface through values at points, 0 at the border of the picture.

    Args:
        points: [k, 2] in pixels, x right, y down; those outside of the picture are left out.
        values: [k, c].
        side: of the picture.
        smoothing: how stiff the plate is: 0 goes through every value, where neighbours may contradict each other.

    Returns:
        [side, side, c].
    """
    line = np.linspace(0, side, _BORDER + 1)
    border = np.array([(x, y) for x in line for y in line if {x, y} & {0.0, float(side)}])
    inside = ((points > 0) & (points < side)).all(axis=1)
    nodes = np.concatenate([points[inside], border]) / side
    heights = np.concatenate([values[inside], np.zeros((len(border), values.shape[1]))])
    n = len(nodes)
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = _bending(nodes, nodes) + smoothing * np.eye(n)
    system[:n, n:] = np.column_stack([np.ones(n), nodes])
    system[n:, :n] = system[:n, n:].T
    weights = np.linalg.solve(system, np.concatenate([heights, np.zeros((3, values.shape[1]))]))
    line = np.arange(_STEP / 2, side, _STEP) / side
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    coarse = _bending(grid, nodes) @ weights[:n] + weights[n] + grid @ weights[n + 1 :]
    layers = coarse.reshape(len(line), len(line), -1).astype(np.float32)
    resized = [
        Image.fromarray(layers[..., i]).resize((side, side), Image.Resampling.BICUBIC) for i in range(layers.shape[2])
    ]
    return np.stack([np.asarray(layer, np.float64) for layer in resized], axis=-1)


def source_of(displacement: Field) -> Field:
    """Where each pixel comes from: x with ``x + displacement(x) = pixel`` by fixed-point steps, [side, side, 2]."""
    side = len(displacement)
    pixels = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).astype(np.float64)
    source = pixels.copy()
    for _ in range(_STEPS_BACK):
        source = pixels - sampled(displacement, source)
    return source


def sampled(picture: NDArray[np.generic], places: Field) -> Field:
    """Bilinear samples of [h, w, c] at places [..., 2] (x, y) in pixels; outside, the edge goes on."""
    height, width = picture.shape[:2]
    x, y = np.clip(places[..., 0], 0, width - 1.001), np.clip(places[..., 1], 0, height - 1.001)
    left, top = x.astype(int), y.astype(int)
    across, down = (x - left)[..., None], (y - top)[..., None]
    values = picture.astype(np.float64)
    upper = values[top, left] * (1 - across) + values[top, left + 1] * across
    lower = values[top + 1, left] * (1 - across) + values[top + 1, left + 1] * across
    return np.asarray(upper * (1 - down) + lower * down)


def _bending(places: Field, nodes: Field) -> Field:
    squared = ((places[:, None] - nodes[None]) ** 2).sum(axis=2)
    return np.asarray(squared * np.log(np.maximum(squared, 1e-12)))
