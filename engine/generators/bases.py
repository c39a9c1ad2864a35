"""Bases of either dimension: the embedded ones by name, others by path."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, cast, overload

from everface.engine.errors import CheckpointError
from everface.engine.generators.base_files import EMBEDDED, EMBEDDED_2D, EMBEDDED_3D, find_base
from everface.engine.generators.stylegan2.weights import StyleGAN2Weights
from everface.engine.generators.weights import read_metadata
from everface.engine.optional import optional_packages

if TYPE_CHECKING:
    from everface.engine.generators.eg3d.generator import TriPlaneGenerator
    from everface.engine.generators.protocol import FaceGenerator
    from everface.engine.generators.stylegan2.generator import Generator

__all__ = ["Base", "generator_from_bytes", "load_base"]

G_co = TypeVar("G_co", bound="FaceGenerator", covariant=True)
_DIMENSIONS = {"stylegan2": "2d", "eg3d": "3d"}


@dataclass(frozen=True, eq=False)
class Base(Generic[G_co]):
    """A loaded base. PyTorch is loaded with its generator, not before.

    Attributes:
        name: the embedded base's name, or the file's path.
        sha256: hash of the file, hex.
        dimension: ``"2d"`` or ``"3d"``.
        metadata: the file's own text entries (data, terms and the like).
        data: the file.
        cut_to: resolution in pixels of the part that the name means, None for all of it.
    """

    name: str
    sha256: str
    dimension: str
    metadata: dict[str, str]
    data: bytes = field(repr=False)
    cut_to: int | None = None

    @cached_property
    def generator(self) -> G_co:
        """In evaluation mode, float32, without gradients; do not change it.

        Raises:
            CheckpointError: the file is not what its metadata says.
            MissingBackendError: PyTorch is not installed.
        """
        if self.dimension == "3d":
            return cast(G_co, generator_from_bytes(self.data, self.name)[0])
        with optional_packages("the generator in PyTorch"):
            from everface.engine.generators.stylegan2.generator import Generator

        return cast(G_co, Generator.from_weights(self.weights))

    @cached_property
    def weights(self) -> StyleGAN2Weights:
        """The numbers of a 2D base.

        Raises:
            CheckpointError: a 3D base, or the file is not what its metadata says.
        """
        weights = StyleGAN2Weights.from_bytes(self.data, self.name)
        return weights if self.cut_to is None else weights.cut(self.cut_to)


@overload
def load_base(name: str, dimension: Literal["2d"] = "2d") -> Base[Generator]: ...
@overload
def load_base(name: str, dimension: Literal["3d"]) -> Base[TriPlaneGenerator]: ...
@overload
def load_base(name: str, dimension: str | None) -> Base[FaceGenerator]: ...
def load_base(name: str, dimension: str | None = "2d") -> Base[FaceGenerator]:
    """Loads an embedded base by name, or a ``.safetensors`` generator by path.

    Args:
        name: of an embedded base or a file.
        dimension: ``"2d"`` or ``"3d"``, which it must be of; None for either.

    Raises:
        CheckpointError: no such base, one of the other dimension, or a damaged one.
    """
    embedded = {"2d": EMBEDDED_2D, "3d": EMBEDDED_3D}.get(dimension or "", EMBEDDED)
    file = find_base(name, embedded)
    data = file.read()
    metadata = read_metadata(data, file.path.name)
    actual = _dimension(metadata, file.path.name)
    if dimension not in (actual, None):
        remedy = f"use --dimension {actual}, or another base such as {embedded[0]}"
        expected = f"a {dimension} generator"
        raise CheckpointError(f"base {file.path.name}", expected=expected, found=actual, remedy=remedy)
    base: Base[FaceGenerator] = Base(name, hashlib.sha256(data).hexdigest(), actual, metadata, data, file.cut_to)
    # A damaged file is told here, not where its numbers are first used.
    _ = base.weights if actual == "2d" else base.generator
    return base


def generator_from_bytes(data: bytes, subject: str) -> tuple[FaceGenerator, dict[str, str]]:
    """A 2D or 3D generator from a safetensors file, and its metadata.

    Args:
        data: the whole file.
        subject: what to call it in errors.

    Raises:
        CheckpointError: it is neither, or tensors are missing, left over, misshapen or not finite.
        MissingBackendError: PyTorch is not installed.
    """
    dimension = _dimension(read_metadata(data, subject), subject)
    with optional_packages(f"a {dimension.upper()} generator in PyTorch"):
        from everface.engine.generators.eg3d.checkpoints import eg3d_from_bytes
        from everface.engine.generators.stylegan2.generator import Generator

    if dimension == "3d":
        return eg3d_from_bytes(data, subject)
    weights = StyleGAN2Weights.from_bytes(data, subject)
    return Generator.from_weights(weights), weights.metadata


def _dimension(metadata: dict[str, str], subject: str) -> str:
    architecture = metadata.get("architecture", "none")
    if architecture not in _DIMENSIONS:
        remedy = "pass a generator written by `everface import` or `everface pretrain`"
        if architecture == "stylegan2-synthesis":
            remedy = "it has no mapping network: import its checkpoint again with --mapping OFFICIAL_FILE"
        expected = "metadata with architecture stylegan2 or eg3d"
        raise CheckpointError(subject, expected=expected, found=repr(architecture), remedy=remedy)
    return _DIMENSIONS[architecture]
