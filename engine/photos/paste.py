"""A picture of a face goes back into the photo that it came from, at the photo's resolution and with its colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from everface.engine.photos.align import CropQuad
from everface.engine.photos.warp import sampled

_EDGE = 0.16  # of the crop's half side, over which picture and photo pass into each other
_LOCAL = 0.12  # of the crop's side: colours are matched at this coarseness


def paste_face(
    photo: NDArray[np.uint8], picture: NDArray[np.uint8], quad: CropQuad, *, match: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """The photo with the picture in place of its crop.

    Args:
        photo: uint8 [h, w, 3].
        picture: aligned, uint8 [r, r, 3].
        quad: where the crop lies in the photo.
        match: aligned, what the photo shows there, uint8 [r, r, 3]: the picture takes its coarse colours, so that no
            edge shows. None keeps the picture's own, for pictures whose light was changed.

    Returns:
        uint8 [h, w, 3]; what lies outside the crop is untouched.
    """
    values = picture.astype(np.float64)
    if match is not None:
        values = values + _coarse(match) - _coarse(picture)
    axes = np.stack([quad.right, quad.down], axis=1)
    reach = np.abs(axes).sum(axis=1)
    low = np.maximum(np.floor(quad.centre - reach).astype(int), 0)
    high = np.minimum(np.ceil(quad.centre + reach).astype(int) + 1, (photo.shape[1], photo.shape[0]))
    x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
    # Places in the crop, -1 to 1 across.
    inside = np.stack([x, y], axis=-1) - quad.centre
    places = inside @ np.linalg.inv(axes).T
    drawn = sampled(values, (places + 1) * (len(picture) / 2) - 0.5)
    depth = np.clip((1 - np.abs(places).max(axis=-1, keepdims=True)) / _EDGE, 0, 1)
    share = depth * depth * (3 - 2 * depth)
    whole = photo.copy()
    part = whole[low[1] : high[1], low[0] : high[0]]
    part[...] = np.clip(part + share * (drawn - part) + 0.5, 0, 255).astype(np.uint8)
    return whole


def _coarse(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    side = len(picture)
    few = max(2, round(1 / _LOCAL))
    image = Image.fromarray(picture).resize((few, few), Image.Resampling.BOX)
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC), np.float64)
