"""Bases of either dimension: the embedded ones by name, others by path."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from everface.engine.errors import CheckpointError
from everface.engine.generators.base_files import EMBEDDED_2D, EMBEDDED_3D, find_base
from everface.engine.generators.rendering import AnyGenerator, any_from_bytes
from everface.engine.generators.stylegan2 import Generator

__all__ = ["AnyBase", "load_any_base"]


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
    embedded = EMBEDDED_2D if dimension == "2d" else EMBEDDED_3D
    file = find_base(name, embedded)
    data = file.read()
    generator, metadata = any_from_bytes(data, file.path.name)
    if isinstance(generator, Generator):
        generator = file.part(generator)
    found = "2d" if isinstance(generator, Generator) else "3d"
    if found != dimension:
        remedy = f"use --dimension {found}, or another base such as {embedded[0]}"
        raise CheckpointError(f"base {file.path.name}", expected=f"a {dimension} generator", found=found, remedy=remedy)
    return AnyBase(name, hashlib.sha256(data).hexdigest(), generator, metadata)
