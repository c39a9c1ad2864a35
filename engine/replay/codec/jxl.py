"""JPEG XL, where the optional Pillow plugin is installed."""

from __future__ import annotations

import importlib
import importlib.util

import numpy as np
from numpy.typing import NDArray

from everface.engine.replay.codec.pillow import pillow_decode, pillow_encode

_PLUGIN = "pillow_jxl"


class JxlCodec:
    """JPEG XL as a bare codestream; effort maps to its 1 to 9."""

    name = "jxl"
    number = 4

    def available(self) -> bool:
        """Needs ``pip install pillow-jxl-plugin``."""
        return importlib.util.find_spec(_PLUGIN) is not None

    def encode(self, image: NDArray[np.uint8], quality: int, effort: int) -> bytes:  # pragma: no cover (optional)
        """See ``everface.engine.replay.codec.base.Codec``."""
        importlib.import_module(_PLUGIN)
        return pillow_encode(image, "JXL", quality=quality, effort=max(1, min(9, effort)), use_container=False)

    def decode(self, data: bytes, resolution: int) -> NDArray[np.uint8]:  # pragma: no cover (optional)
        """See ``everface.engine.replay.codec.base.Codec``."""
        importlib.import_module(_PLUGIN)
        return pillow_decode(data, "JXL", resolution)
