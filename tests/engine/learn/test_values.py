"""Columns that do not belong together are refused; a memory may be empty."""

from __future__ import annotations

import numpy as np
import pytest

from everface.engine.errors import UsageError
from everface.engine.latents.model import GeneratorShape
from everface.engine.learn.values import Memory, NewPhotos


@pytest.mark.parametrize("sizes", [(0, 0, 0), (3, 2, 3), (3, 3, 2)])
def test_new_photos_are_as_many_of_each(sizes: tuple[int, int, int]) -> None:
    images, cameras, weights = sizes
    with pytest.raises(UsageError, match="new photos"):
        NewPhotos(np.zeros((images, 4, 4, 3), np.uint8), np.zeros((cameras, 0)), np.zeros(weights, np.int64))


def test_an_empty_memory_has_the_shapes_of_a_full_one() -> None:
    memory = Memory.empty(GeneratorShape(16, 6, 32, 32, 25), 3)
    assert len(memory) == 0 and memory.timestamp == 3
    assert memory.images.shape == (0, 16, 16, 3) and memory.codes.shape == (0, 57)
