"""Features for a Frechet distance: one row an image, alike for one image in any batch."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from everface.engine.errors import UsageError
from everface.engine.perception.frechet_features import FrechetFeatures


def test_without_its_package_the_embedded_network_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    features = FrechetFeatures.load()
    assert features.name == "MobileNetV2"
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    rows = features(images, batch=2)
    assert rows.dtype == np.float64
    assert rows.shape == (3, rows.shape[1])
    np.testing.assert_allclose(features(images[1:2])[0], rows[1], rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError):
        features(images[:, :1])
