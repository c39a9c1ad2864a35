"""The interface of all codecs, their registry, and the two verbs: encode and decode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import EverfaceError, IntegrityError, MissingBackendError, UsageError

MAX_RESOLUTION = 4096


class Codec(Protocol):
    """One image format."""

    @property
    def name(self) -> str:
        """Its name in ``CodecChoice``."""

    @property
    def number(self) -> int:
        """Its number in stored files; never reused."""

    def available(self) -> bool:
        """Whether this machine can encode and decode it."""

    def encode(self, image: NDArray[np.uint8], quality: int, effort: int) -> bytes:
        """Encodes [H, W, 3] sRGB; quality 0..100, effort 0 (fast) .. 10 (dense)."""

    def decode(self, data: bytes, resolution: int) -> NDArray[np.uint8]:
        """Decodes to [resolution, resolution, 3]; any exception means that the bytes are not such an image."""


@dataclass(frozen=True)
class CodecChoice:
    """How new memories are encoded.

    Attributes:
        name: a codec's name.
        quality: 0 to 100, in that codec's own scale.
        effort: 0 (fast) to 10 (dense).
        resolution: stored side in pixels; None stores images at their own.
    """

    name: str = "webp"
    quality: int = 75
    effort: int = 6
    resolution: int | None = None

    def __post_init__(self) -> None:
        codec(self.name)
        if not 0 <= self.quality <= 100:
            raise UsageError("codec.quality", expected="0 to 100", found=str(self.quality))
        if not 0 <= self.effort <= 10:
            raise UsageError("codec.effort", expected="0 to 10", found=str(self.effort))
        if self.resolution is not None and not 8 <= self.resolution <= MAX_RESOLUTION:
            raise UsageError("codec.resolution", expected=f"8 to {MAX_RESOLUTION}", found=str(self.resolution))


def _codecs() -> tuple[Codec, ...]:
    from everface.engine.replay.codec.avif import AvifCodec
    from everface.engine.replay.codec.jpeg import JpegCodec
    from everface.engine.replay.codec.jxl import JxlCodec
    from everface.engine.replay.codec.webp import WebpCodec

    return (WebpCodec(), AvifCodec(), JpegCodec(), JxlCodec())


def codec_names(available_only: bool = True) -> tuple[str, ...]:
    """Names of the codecs, of those that work here by default."""
    return tuple(codec_type.name for codec_type in _codecs() if codec_type.available() or not available_only)


def codec(key: str | int) -> Codec:
    """Finds a codec by name or stored number.

    Raises:
        UsageError: there is no such codec.
        MissingBackendError: there is, but not on this machine.
    """
    for codec_type in _codecs():
        if key in (codec_type.name, codec_type.number):
            if not codec_type.available():
                raise MissingBackendError(
                    f"codec {codec_type.name}", expected="a Pillow that reads and writes it", found="none",
                    remedy="pip install pillow-jxl-plugin" if codec_type.name == "jxl" else "pip install 'pillow>=12'",
                )  # fmt: skip
            return codec_type
    raise UsageError("codec", expected=" or ".join(codec_names(False)), found=repr(key), remedy="choose one of these")


def codec_label(number: int) -> str:
    """Name of a stored codec number; one that is not installed here has its number."""
    try:
        return codec(number).name
    except EverfaceError:
        return f"codec {number}"


def encode(image: NDArray[np.uint8], choice: CodecChoice) -> tuple[bytes, int]:
    """Encodes a square image [R, R, 3] uint8; returns the bytes and the stored resolution.

    Raises:
        UsageError: not such an image.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.shape[0] != image.shape[1]:
        raise UsageError("image", expected="a square uint8 array [R, R, 3]", found=f"{image.dtype} {image.shape}")
    side = int(image.shape[0])
    if not 8 <= side <= MAX_RESOLUTION:
        raise UsageError("image", expected=f"8 to {MAX_RESOLUTION} pixels a side", found=str(side))
    if choice.resolution is not None and choice.resolution < side:
        from PIL import Image

        small = Image.fromarray(image).resize((choice.resolution, choice.resolution), Image.Resampling.LANCZOS)
        image, side = np.asarray(small), choice.resolution
    return codec(choice.name).encode(image, choice.quality, choice.effort), side


def decode(data: bytes, key: str | int, resolution: int) -> NDArray[np.uint8]:
    """Decodes to [resolution, resolution, 3] uint8.

    Raises:
        IntegrityError: the bytes are not such an image.
    """
    reader = codec(key)
    try:
        image = reader.decode(data, resolution)
    except Exception as error:
        raise IntegrityError(
            f"{reader.name} image", expected="bytes that decode", found=str(error), remedy="run `everface check`"
        ) from error
    if image.shape != (resolution, resolution, 3) or image.dtype != np.uint8:
        raise IntegrityError(f"{reader.name} image", expected=f"{resolution} x {resolution}", found=f"{image.shape}")
    return image
