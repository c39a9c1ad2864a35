"""Checks and resizing that the perceptual modules share."""

from __future__ import annotations

import pytest
import torch

from everface.engine.errors import UsageError
from everface.engine.perception._images import require_images, shrink_to_at_most


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 1, 16, 16), (1, 3, 16, 17), (1, 3, 8, 8)])
def test_what_is_no_batch_of_square_pictures_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="side >= 16"):
        require_images("images", torch.zeros(shape))
    with pytest.raises(UsageError, match="floating-point"):
        require_images("images", torch.zeros(1, 3, 16, 16, dtype=torch.uint8))


def test_pictures_shrink_by_whole_factors() -> None:
    images = torch.arange(64.0).reshape(1, 1, 8, 8)
    assert shrink_to_at_most(images, 5.0) is images
    halved = shrink_to_at_most(images, 3.0)
    assert halved.shape[-1] == 4
    assert halved[0, 0, 0, 0] == images[0, 0, :2, :2].mean()
