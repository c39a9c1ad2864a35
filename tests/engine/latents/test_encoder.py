"""The encoder: mean face before training, file format, bad files."""

from __future__ import annotations

import pytest
import torch

from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.tensors import pack_tensors
from everface.engine.latents.encoder import Encoder, EncoderConfig, encoder_from_bytes, encoder_to_bytes

SMALL = EncoderConfig(16, 24, (8, 16, 16))


def test_a_file_gives_the_same_encoder_back() -> None:
    torch.manual_seed(0)
    encoder = Encoder(SMALL)
    encoder.w_avg.fill_(0.5)
    images = torch.rand(3, 3, 40, 40) * 2 - 1
    back = encoder_from_bytes(pack_tensors(encoder.state_dict(), {}), "file")
    torch.testing.assert_close(back(images), encoder(images), rtol=0, atol=0)
    assert back.config == SMALL
    assert (back(images) - 0.5).abs().mean() < 1


def test_small_files_hold_weights_in_eight_bits() -> None:
    torch.manual_seed(1)
    encoder = Encoder(SMALL)
    torch.nn.init.normal_(encoder.fc.weight, std=0.05)
    data = encoder_to_bytes(encoder, {"terms": "none"})
    assert len(data) < 0.4 * len(pack_tensors(encoder.state_dict(), {}))
    back = encoder_from_bytes(data, "file")
    for name, value in encoder.state_dict().items():
        step = value.flatten(1).abs().amax() / 127 if value.ndim > 1 else torch.zeros(())
        assert (back.state_dict()[name] - value).abs().max() <= 0.51 * step, name
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    assert (back(images) - encoder(images)).norm() < 0.03 * encoder(images).norm()
    for stray in ("stem.weight", "nothing"):
        tensors = dict(encoder.state_dict()) | {f"{stray}.scale": torch.ones(3)}
        with pytest.raises(CheckpointError, match="pretrain"):
            encoder_from_bytes(pack_tensors(tensors, {}), "file")


def test_bad_files_and_images() -> None:
    data = pack_tensors(Encoder(SMALL).state_dict(), {})
    for bad in (b"", data[:100], pack_tensors({"w_avg": torch.zeros(4)}, {})):
        with pytest.raises(CheckpointError, match="pretrain"):
            encoder_from_bytes(bad, "file")
    with pytest.raises(UsageError):
        Encoder(SMALL)(torch.zeros(1, 1, 16, 16))
    with pytest.raises(UsageError):
        EncoderConfig(64, 512, (32, 64))
