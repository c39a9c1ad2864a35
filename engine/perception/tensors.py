"""Between pictures as arrays of bytes and as PyTorch's tensors."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_tensor(images: NDArray[np.uint8]) -> Tensor:
    """uint8 [n, r, r, 3] to float32 [n, 3, r, r] in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_images(tensor: Tensor) -> NDArray[np.uint8]:
    """Images [n, 3, r, r] about [-1, 1] to uint8 [n, r, r, 3], rounded to nearest."""
    scaled = (tensor.detach().float().clamp(-1, 1) + 1) * 127.5
    return np.asarray((scaled + 0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy())
