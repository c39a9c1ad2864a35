"""Finds photos that are the same picture: equal bytes, or re-encoded, resized, slightly cropped or recoloured."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from everface.engine.photos.quality import luma

_GRID = 32
_BLOCK = 9  # 9 x 9 lowest frequencies; the mean and the last 16 are left out


def perceptual_hash(image: NDArray[np.uint8]) -> int:
    """A 64-bit hash of an aligned face: the signs of its lowest cosine coefficients without the mean.

    Differences between neighbours ("dHash") were tried first: aligned faces of one person share them too often.

    Args:
        image: uint8 [side, side, 3] RGB.
    """
    gray = Image.fromarray(np.rint(luma(image)).astype(np.uint8))
    small = np.asarray(gray.resize((_GRID, _GRID), Image.Resampling.BILINEAR), np.float64)
    waves = _cosines()
    signs = (waves @ small @ waves.T).ravel()[1:65] > 0
    return int.from_bytes(np.packbits(signs).tobytes(), "big")


def _cosines() -> NDArray[np.float64]:
    """[9, 32], the waves of the discrete cosine transform (type II) with the lowest frequencies, unscaled."""
    waves: NDArray[np.float64] = np.cos(np.pi * np.outer(np.arange(_BLOCK), np.arange(_GRID) + 0.5) / _GRID)
    return waves


def hash_distance(a: int, b: int) -> int:
    """Number of bits in which two hashes differ, 0 to 64."""
    return (a ^ b).bit_count()


class SeenPhotos:
    """The photos already learned and those accepted so far in this batch.

    Args:
        seen: (sha256, perceptual hash) of photos learned before.
        distance: hashes at most this many bits apart are one photo.
    """

    def __init__(self, seen: Iterable[tuple[str, int]], distance: int) -> None:
        self._distance = distance
        self._files: dict[str, str | None] = {}
        self._hashes: list[tuple[int, str | None]] = []
        for sha256, photo_hash in seen:
            self.add(sha256, photo_hash, None)

    def add(self, sha256: str, photo_hash: int, name: str | None) -> None:
        """Remembers a photo; ``name`` is None for one learned before."""
        self._files.setdefault(sha256, name)
        self._hashes.append((photo_hash, name))

    def find_file(self, sha256: str) -> str | None:
        """Says which photo has the same bytes, as a phrase; None if there is none."""
        return _phrase(self._files[sha256]) if sha256 in self._files else None

    def find_similar(self, photo_hash: int) -> str | None:
        """Says which photo looks the same, as a phrase; None if there is none."""
        near = [(hash_distance(photo_hash, other), i) for i, (other, _) in enumerate(self._hashes)]
        if not near or min(near)[0] > self._distance:
            return None
        return _phrase(self._hashes[min(near)[1]][1])


def _phrase(name: str | None) -> str:
    return "a photo learned before" if name is None else name
