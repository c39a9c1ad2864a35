"""What a code adds to a set: its distance to the hull of the others."""

from __future__ import annotations

import numpy as np
import pytest

from everface.engine.errors import UsageError
from everface.engine.latents.hull_distance import distance_to_others


def test_the_corners_of_a_square_and_its_middle() -> None:
    codes = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.5, 0.5]])
    # A corner lies half a diagonal from the middle, which is the nearest point of the others; the middle adds nothing.
    np.testing.assert_allclose(distance_to_others(codes), [np.sqrt(0.5)] * 4 + [0.0], atol=1e-7)


def test_one_code_has_no_others() -> None:
    with pytest.raises(UsageError, match="n >= 2"):
        distance_to_others(np.zeros((1, 3)))
