"""Between bytes and tensors nothing is lost."""

from __future__ import annotations

import numpy as np
import torch

from everface.engine.perception.tensors import to_images, to_tensor


def test_every_byte_comes_back() -> None:
    images = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    tensor = to_tensor(images)
    assert tensor.shape == (1, 3, 16, 16)
    assert (tensor.min(), tensor.max()) == (-1, 1)
    np.testing.assert_array_equal(to_images(tensor), images)


def test_what_lies_outside_is_clipped() -> None:
    assert to_images(torch.tensor([-3.0, 0.0, 3.0]).reshape(1, 3, 1, 1)).ravel().tolist() == [0, 128, 255]
