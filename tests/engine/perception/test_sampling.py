"""Resampling by matrices is PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from everface.engine.perception.sampling import cutting, resampled


@pytest.mark.parametrize("bicubic", [True, False])
@pytest.mark.parametrize(("centre", "width"), [(0.0, 1.0), (0.3, 0.9), (-0.8, 1.4)])
def test_cutting_is_grid_sample(bicubic: bool, centre: float, width: float) -> None:
    images = np.random.default_rng(0).random((1, 20, 20, 3), np.float32)
    theta = torch.tensor([[[width, 0.0, centre], [0.0, 1.0, 0.0]]])
    grid = F.affine_grid(theta, [1, 3, 24, 24], align_corners=False)
    mode = "bicubic" if bicubic else "bilinear"
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2)
    expected = F.grid_sample(tensor, grid, mode=mode, padding_mode="reflection", align_corners=False)
    rows = cutting(20, 24, 0.0, 1.0, bicubic=bicubic)
    columns = cutting(20, 24, centre, width, bicubic=bicubic)
    np.testing.assert_allclose(resampled(images, rows, columns), expected.permute(0, 2, 3, 1), atol=1e-4)
