"""Reading and writing generators as safetensors: tensors and plain text only, so nothing in a file can run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from torch import Tensor

from everface.engine.errors import CheckpointError
from everface.engine.generators.base_files import find_base
from everface.engine.generators.stylegan2 import Generator, StyleGAN2Config

__all__ = [
    "Base",
    "check_shapes",
    "check_tensors",
    "generator_from_bytes",
    "generator_to_bytes",
    "load_base",
    "pack_tensors",
    "safetensors_header",
]

_MAX_HEADER_BYTES = 16 * 1024**2
_FIELDS = {field.name: field for field in dataclasses.fields(StyleGAN2Config)}


@dataclass(frozen=True)
class Base:
    """A loaded base generator.

    Attributes:
        name: the embedded base's name, or the file's path.
        sha256: hash of the file, hex.
        generator: in evaluation mode, float32, without gradients.
        metadata: the file's own text entries (data, terms and the like).
    """

    name: str
    sha256: str
    generator: Generator
    metadata: dict[str, str]


def load_base(name: str) -> Base:
    """Loads an embedded base by name, or a ``.safetensors`` generator by path.

    Raises:
        CheckpointError: no such base, or not a StyleGAN2 in NVIDIA's parameter names.
    """
    file = find_base(name)
    data = file.read()
    generator, metadata = generator_from_bytes(data, file.path.name)
    return Base(name, hashlib.sha256(data).hexdigest(), file.part(generator), metadata)


def generator_from_bytes(data: bytes, subject: str) -> tuple[Generator, dict[str, str]]:
    """Builds a generator from the bytes of a safetensors file.

    Args:
        data: the whole file.
        subject: what to call it in errors.

    Returns:
        The generator (float32, evaluation mode, no gradients) and the file's metadata.

    Raises:
        CheckpointError: not safetensors, an unknown architecture, or tensors missing, left over,
            misshapen or not finite.
    """
    metadata = _metadata(data, subject)
    config = _config(metadata, subject)
    try:
        tensors = load_bytes(data)
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise CheckpointError(subject, expected="a complete safetensors file", found=str(error)) from error
    with torch.device("meta"):
        generator = Generator(config)
    check_tensors("stylegan2", metadata, tensors, subject)
    generator.load_state_dict({name: value.float() for name, value in tensors.items()}, assign=True)
    return generator.eval().requires_grad_(False), metadata


def generator_to_bytes(generator: Generator, metadata: dict[str, str], dtype: torch.dtype = torch.float16) -> bytes:
    """Writes a generator as safetensors, with its shape in the metadata.

    Raises:
        CheckpointError: a tensor is not finite in ``dtype``.
    """
    told = {key: str(value) for key, value in dataclasses.asdict(generator.config).items()}
    tensors = {name: value.detach().to(dtype).contiguous() for name, value in generator.state_dict().items()}
    return pack_tensors(tensors, metadata | told | {"architecture": "stylegan2"})


def pack_tensors(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    """Writes finite tensors and text as safetensors bytes, the same bytes for the same content.

    Raises:
        CheckpointError: a tensor is not finite.
    """
    for name, value in tensors.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise CheckpointError(name, expected="finite weights", found="NaN or infinity", remedy="tune more gently")
    data = bytes(save_bytes({name: tensors[name].contiguous() for name in sorted(tensors)}, metadata))
    # The library writes metadata in a random order; in a fixed one, equal models have equal hashes.
    size = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def safetensors_header(data: bytes | memoryview, subject: str) -> dict[str, str]:
    """The text entries of a safetensors file.

    Raises:
        CheckpointError: it is not one.
    """
    remedy = "pass a generator written by `everface import` or `everface pretrain`"
    size = int.from_bytes(data[:8], "little") if len(data) >= 8 else -1
    if not 0 < size <= min(len(data) - 8, _MAX_HEADER_BYTES):
        raise CheckpointError(
            subject, expected="a safetensors file", found=f"{len(data)} bytes of another kind", remedy=remedy
        )
    try:
        # As text: given bytes, json would guess UTF-16 and load codecs for it.
        metadata = json.loads(str(data[8 : 8 + size], "utf-8")).get("__metadata__", {})
        return {str(key): str(value) for key, value in metadata.items()}
    except (ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            subject, expected="a safetensors header", found="none that can be read", remedy=remedy
        ) from error


def check_tensors(architecture: str, settings: dict[str, str], tensors: dict[str, Tensor], subject: str) -> None:
    """Checks that tensors are finite and, for a StyleGAN2, exactly those of its settings.

    Args:
        architecture: ``stylegan2``, ``stylegan2-synthesis`` (without ``mapping.``), or any other.
        settings: text, as in a file's metadata.
        tensors: by name.
        subject: what to call them in errors.

    Raises:
        CheckpointError: they are not.
    """
    if architecture in ("stylegan2", "stylegan2-synthesis"):
        with torch.device("meta"):
            wanted = Generator(_config(settings, subject)).state_dict()
        if architecture == "stylegan2-synthesis":
            wanted = {name: value for name, value in wanted.items() if not name.startswith("mapping.")}
        check_shapes(wanted, tensors, subject)
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            raise CheckpointError(f"{subject}: {name}", expected="finite weights", found="NaN or infinity")


def _metadata(data: bytes, subject: str) -> dict[str, str]:
    metadata = safetensors_header(data, subject)
    found = metadata.get("architecture")
    if found != "stylegan2":
        remedy = "pass a generator written by `everface import` or `everface pretrain`"
        if found == "stylegan2-synthesis":
            remedy = "it has no mapping network: import its checkpoint again with --mapping OFFICIAL_FILE"
        raise CheckpointError(
            subject, expected="metadata with architecture stylegan2", found=repr(found), remedy=remedy
        )
    return metadata


def _config(metadata: dict[str, str], subject: str) -> StyleGAN2Config:
    values: dict[str, Any] = {}
    for name in _FIELDS.keys() & metadata.keys():
        text = metadata[name]
        try:
            values[name] = (None if text == "None" else float(text)) if name == "conv_clamp" else int(text)
        except ValueError:
            raise CheckpointError(f"{subject}: {name}", expected="a number", found=repr(text[:40])) from None
    clamp = values.get("conv_clamp")
    if clamp is not None and not clamp > 0:
        raise CheckpointError(f"{subject}: conv_clamp", expected="a positive number", found=str(clamp))
    limits = {
        "z_dim": 4096,
        "w_dim": 4096,
        "c_dim": 4096,
        "mapping_layers": 32,
        "channel_base": 1 << 18,
        "channel_max": 4096,
    }
    for name, limit in limits.items():
        if values.get(name, 1) > limit:
            raise CheckpointError(f"{subject}: {name}", expected=f"at most {limit}", found=str(values[name]))
    return StyleGAN2Config(**values)


def check_shapes(wanted: dict[str, Tensor], tensors: dict[str, Tensor], subject: str) -> None:
    """Checks that tensors have exactly the names and shapes of others, and are floating-point.

    Raises:
        CheckpointError: they have not.
    """
    if missing := sorted(wanted.keys() - tensors.keys()):
        raise CheckpointError(subject, expected=f"{len(wanted)} tensors", found=f"none named {missing[0]}")
    if extra := sorted(tensors.keys() - wanted.keys()):
        raise CheckpointError(subject, expected=f"{len(wanted)} tensors", found=f"one more, {extra[0]}")
    for name, value in tensors.items():
        shape = tuple(wanted[name].shape)
        if tuple(value.shape) != shape or not value.is_floating_point():
            found = f"{tuple(value.shape)} {value.dtype}"
            raise CheckpointError(f"{subject}: {name}", expected=f"floating-point {shape}", found=found)
