"""A report's images are checked where they are put in."""

from __future__ import annotations

import numpy as np
import pytest

from everface.engine.errors import UsageError
from everface.engine.report.data import Memory, Reconstruction, SampleGrid

GOOD = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize("image", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)])
def test_other_images_are_named(image: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"memory\.image"):
        Memory(image, 0, 1)
    with pytest.raises(UsageError, match=r"reconstruction\.now"):
        Reconstruction(GOOD, GOOD, image)
    with pytest.raises(UsageError, match=r"samples\.image"):
        SampleGrid("base", (GOOD, image))


def test_bytes_are_taken_as_they_are() -> None:
    assert Memory(GOOD, 0, 1).image is GOOD
