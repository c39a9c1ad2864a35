"""What the Pillow-backed codecs share."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray


def pillow_has(feature: str) -> bool:
    """Whether this Pillow was built with a feature such as ``"webp"``."""
    from PIL import features

    return bool(features.check(feature))


def pillow_encode(image: NDArray[np.uint8], form: str, **options: object) -> bytes:
    """Encodes [H, W, 3] sRGB without any metadata: what is not passed is not written."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form, **options)
    return buffer.getvalue()


def pillow_decode(data: bytes, form: str, resolution: int) -> NDArray[np.uint8]:
    """Decodes with one decoder only, so that stored bytes never reach another format's parser."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=(form,)) as opened:
        # The size is compared before pixels are allocated: a forged header must not ask for gigabytes.
        if opened.size != (resolution, resolution):
            raise ValueError(f"size {opened.size}, not {resolution}")
        return np.asarray(opened.convert("RGB"))
