"""Which file a base's name means: that of an embedded one or a path, and the files beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from everface.engine.assets import asset_path
from everface.engine.errors import CheckpointError

MAX_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class BaseFile:
    """The file of a base.

    Attributes:
        path: a ``.safetensors`` generator.
        cut_to: resolution in pixels of the part that the base's name means, None for all of it.
    """

    path: Path
    cut_to: int | None = None

    def read(self) -> bytes:
        """The file's bytes.

        Raises:
            CheckpointError: more than 2 GiB.
        """
        size = self.path.stat().st_size
        if size > MAX_BYTES:
            raise CheckpointError(self.path.name, expected="at most 2 GiB", found=f"{size} bytes")
        return self.path.read_bytes()

    def beside(self, what: str) -> Path | None:
        """A companion, ``BASE-encoder.safetensors`` for ``"encoder"``; None where there is none.

        Args:
            what: ``"encoder"``, ``"coordinates"`` or ``"directions"``.
        """
        path = self.path.with_name(f"{self.path.stem}-{what}.safetensors")
        return path if path.is_file() else None


EMBEDDED_2D = ("base64", "base128")
EMBEDDED_3D = ("base3d",)
EMBEDDED = (*EMBEDDED_2D, *EMBEDDED_3D)
# Asset and cut. One file for two: the skip architecture holds the smaller generator in the larger one.
_EMBEDDED: dict[str, tuple[str, int | None]] = {
    "base64": ("base128.safetensors", 64),
    "base128": ("base128.safetensors", None),
    "base3d": ("base3d.safetensors", None),
}


def find_base(name: str, offered: Sequence[str] = EMBEDDED_2D) -> BaseFile:
    """The file of a base.

    Args:
        name: of an embedded base, or the path of a ``.safetensors`` generator.
        offered: embedded bases that the error names.

    Raises:
        CheckpointError: no such base.
        EverfaceError: the installation lacks an embedded one.
    """
    if name in _EMBEDDED:
        asset, cut_to = _EMBEDDED[name]
        return BaseFile(asset_path(asset), cut_to)
    if not Path(name).is_file():
        expected = f"one of {', '.join(offered)}, or the path of a .safetensors file"
        remedy = "choose one of these; `everface doctor` shows the embedded bases"
        raise CheckpointError("base", expected=expected, found=repr(name), remedy=remedy)
    return BaseFile(Path(name))
