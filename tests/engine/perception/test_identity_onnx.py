"""dlib's network in ONNX Runtime gives the descriptors of the one in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from everface.engine.errors import UsageError
from everface.engine.perception.identity import IdentityEmbedder
from everface.engine.perception.identity_onnx import OnnxIdentity


@pytest.mark.parametrize(("side", "scale"), [(32, 0.8), (128, 1.0), (256, 0.8), (1024, 0.8)])
def test_chips_and_descriptors_agree(side: int, scale: float) -> None:
    small = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), np.uint8)
    images = np.ascontiguousarray(small.repeat(side // 16, axis=1).repeat(side // 16, axis=2))
    photos = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    torch_net, onnx_net = IdentityEmbedder.load(scale), OnnxIdentity(scale)
    with torch.no_grad():
        chips, descriptors = torch_net.chips(photos), torch_net(photos).numpy()
    np.testing.assert_allclose(
        onnx_net.chips(images.astype(np.float32) / 127.5 - 1), chips.permute(0, 2, 3, 1), atol=0.05
    )
    np.testing.assert_allclose(onnx_net(images), descriptors, atol=1e-4)


def test_no_pictures_give_no_descriptors() -> None:
    assert OnnxIdentity()(np.zeros((0, 32, 32, 3), np.uint8)).shape == (0, 128)
    with pytest.raises(UsageError):
        OnnxIdentity(3.0)
