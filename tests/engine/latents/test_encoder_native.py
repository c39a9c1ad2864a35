"""The encoder in native code gives the codes of the one in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from everface.engine.errors import CheckpointError
from everface.engine.latents import encoder as in_torch
from everface.engine.latents.encoder_native import NativeEncoder


@pytest.mark.parametrize("side", [16, 32, 64])
def test_codes_agree(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_torch, "compute_dtype", lambda: torch.float32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = in_torch.Encoder(in_torch.EncoderConfig(resolution=16, w_dim=24, widths=(8, 16, 24))).eval()
        for parameter in encoder.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    data = in_torch.encoder_to_bytes(encoder, {})
    images = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)
    with torch.no_grad():
        photos = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
        expected = in_torch.encoder_from_bytes(data, "encoder")(photos).numpy()
    found = NativeEncoder(data, "encoder")(images)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_another_file_is_refused() -> None:
    from everface.engine.generators.weights import pack_arrays

    for data in (b"no", pack_arrays({"stem.weight": np.zeros((8, 3, 3, 3), np.float32)}, {})):
        with pytest.raises(CheckpointError):
            NativeEncoder(data, "encoder")
