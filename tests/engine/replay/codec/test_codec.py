"""Codecs: few bytes, the right pixels, no metadata, and an error for bytes that are no image."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from everface.engine.errors import IntegrityError, MissingBackendError, UsageError
from everface.engine.replay.codec import CodecChoice, codec, codec_names, decode, encode
from everface.engine.replay.codec.jxl import JxlCodec

NAMES = [name for name in ("webp", "avif", "jpeg", "jxl") if name in codec_names()]


def face(side: int) -> np.ndarray:
    """Smooth gradients and a few edges."""
    y, x = np.mgrid[0:side, 0:side] / side
    image = np.stack([x, y, (x + y) / 2], -1) * 180 + 40
    image[(x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.1] = (200, 160, 140)
    return image.astype(np.uint8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", [32, 64, 100, 256])
def test_pixels_come_back(name: str, side: int) -> None:
    image = face(side)
    data, stored = encode(image, CodecChoice(name, 85, 3))
    back = decode(data, codec(name).number, stored)
    assert back.shape == image.shape
    assert np.abs(back.astype(float) - image).mean() < 5
    assert len(data) < image.nbytes / 4


@pytest.mark.parametrize("name", NAMES)
def test_higher_quality_is_nearer_and_larger(name: str) -> None:
    rng = np.random.default_rng(0)
    image = np.clip(face(64) + rng.normal(0, 10, (64, 64, 3)), 0, 255).astype(np.uint8)
    low, high = (encode(image, CodecChoice(name, quality, 3))[0] for quality in (30, 90))
    assert len(low) < len(high)
    errors = [np.abs(decode(one, name, 64).astype(float) - image).mean() for one in (low, high)]
    assert errors[0] > errors[1]


@pytest.mark.parametrize("name", NAMES)
def test_bytes_that_are_no_image_are_refused(name: str) -> None:
    data, _ = encode(face(64), CodecChoice(name, 50, 3))
    for bad in (b"", data[: len(data) // 3], b"\0" * 100, b"RIFF" + bytes(40)):
        with pytest.raises(IntegrityError):
            decode(bad, name, 64)
    if name != "avif":  # whose size is in the boxes that are made for decoding
        with pytest.raises(IntegrityError, match="image"):
            decode(data, name, 32)


def test_avif_and_webp_store_no_boilerplate() -> None:
    """The boxes are rebuilt to the byte, so nothing but their size is lost."""
    image = face(128)
    whole = io.BytesIO()
    Image.fromarray(image).save(whole, "AVIF", quality=50, speed=8, subsampling="4:2:0", max_threads=1)
    assert len(encode(image, CodecChoice("avif", 50, 2))[0]) <= len(whole.getvalue()) - 270
    whole = io.BytesIO()
    Image.fromarray(image).save(whole, "WEBP", quality=50, method=4)
    assert len(encode(image, CodecChoice("webp", 50, 6))[0]) == len(whole.getvalue()) - 20


def test_a_smaller_resolution_is_stored_where_chosen() -> None:
    data, stored = encode(face(128), CodecChoice("webp", 80, 4, resolution=64))
    assert stored == 64
    assert decode(data, "webp", 64).shape == (64, 64, 3)
    assert encode(face(32), CodecChoice("webp", 80, 4, resolution=64))[1] == 32


def test_what_cannot_be_encoded_is_refused() -> None:
    for image in (np.zeros((4, 4, 3), np.uint8), np.zeros((64, 32, 3), np.uint8), np.zeros((64, 64, 3), np.float32)):
        with pytest.raises(UsageError, match="image"):
            encode(image, CodecChoice())
    for arguments in (("gif", 50, 5), ("webp", 101, 5), ("webp", 50, 11), ("webp", 50, 5, 4)):
        with pytest.raises(UsageError):
            CodecChoice(*arguments)


def test_a_codec_that_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JxlCodec, "available", lambda self: False)
    with pytest.raises(MissingBackendError, match="pillow-jxl-plugin"):
        codec("jxl")
    assert "jxl" not in codec_names()
    assert "jxl" in codec_names(available_only=False)
