"""Bases of either dimension: the embedded ones by name, others by path."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from everface.engine.errors import CheckpointError
from everface.engine.generators.checkpoints import EMBEDDED_BASES, cut_as_named, read_base
from everface.engine.generators.rendering import AnyGenerator, any_from_bytes
from everface.engine.generators.stylegan2 import Generator

__all__ = ["EMBEDDED_3D", "AnyBase", "load_any_base"]

EMBEDDED_3D = ("base3d",)


@dataclass(frozen=True)
class AnyBase:
    """A loaded base.

    Attributes:
        name: the embedded base's name, or the file's path.
        sha256: hash of the file, hex.
        generator: 2D or 3D; in evaluation mode, float32, without gradients.
        metadata: the file's own text entries.
    """

    name: str
    sha256: str
    generator: AnyGenerator
    metadata: dict[str, str]


def load_any_base(name: str, dimension: str) -> AnyBase:
    """Loads an embedded base by name, or a ``.safetensors`` generator by path.

    Args:
        name: of an embedded base or a file.
        dimension: ``"2d"`` or ``"3d"``, which it must be of.

    Raises:
        CheckpointError: no such base, or one of the other dimension.
    """
    embedded = EMBEDDED_BASES if dimension == "2d" else EMBEDDED_3D
    path, data = read_base(name, embedded, (*EMBEDDED_BASES, *EMBEDDED_3D))
    generator, metadata = any_from_bytes(data, path.name)
    if isinstance(generator, Generator):
        generator = cut_as_named(generator, name)
    found = "2d" if isinstance(generator, Generator) else "3d"
    if found != dimension:
        remedy = f"use --dimension {found}, or another base such as {embedded[0]}"
        raise CheckpointError(f"base {path.name}", expected=f"a {dimension} generator", found=found, remedy=remedy)
    return AnyBase(name, hashlib.sha256(data).hexdigest(), generator, metadata)
