"""Reading and writing generators as safetensors: tensors and plain text only, so nothing in a file can run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from torch import Tensor

from everface.engine.assets import asset_path
from everface.engine.errors import CheckpointError
from everface.engine.generators.stylegan2 import Generator, StyleGAN2Config

__all__ = [
    "EMBEDDED_BASES", "Base", "companion", "generator_from_bytes", "generator_to_bytes", "load_base", "pack_tensors",
]  # fmt: skip

EMBEDDED_BASES = ("base64",)
MAX_CHECKPOINT_BYTES = 2 * 1024**3
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
    path = asset_path(f"{name}.safetensors") if name in EMBEDDED_BASES else Path(name)
    if not path.is_file():
        expected = f"one of {', '.join(EMBEDDED_BASES)}, or the path of a .safetensors file"
        remedy = "choose one of these; `everface doctor` shows the embedded base"
        raise CheckpointError("base", expected=expected, found=repr(name), remedy=remedy)
    if path.stat().st_size > MAX_CHECKPOINT_BYTES:
        raise CheckpointError(path.name, expected="at most 2 GiB", found=f"{path.stat().st_size} bytes")
    data = path.read_bytes()
    generator, metadata = generator_from_bytes(data, path.name)
    return Base(name, hashlib.sha256(data).hexdigest(), generator, metadata)


def companion(name: str, what: str) -> Path | None:
    """The file ``BASE-encoder.safetensors`` or ``BASE-directions.safetensors`` beside a base, None where there is none.

    Args:
        name: of an embedded base, or the path of a ``.safetensors`` generator.
        what: ``"encoder"`` or ``"directions"``.
    """
    stem = asset_path(f"{name}.safetensors") if name in EMBEDDED_BASES else Path(name)
    path = stem.with_name(f"{stem.stem}-{what}.safetensors")
    return path if path.is_file() else None


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
    _check_tensors(generator, tensors, subject)
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


def _metadata(data: bytes, subject: str) -> dict[str, str]:
    remedy = "pass a generator written by `everface import` or `everface pretrain`"
    size = int.from_bytes(data[:8], "little") if len(data) >= 8 else -1
    if not 0 < size <= min(len(data) - 8, _MAX_HEADER_BYTES):
        raise CheckpointError(
            subject, expected="a safetensors file", found=f"{len(data)} bytes of another kind", remedy=remedy
        )
    try:
        header = json.loads(data[8 : 8 + size])
        metadata = header.get("__metadata__", {})
    except (ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            subject, expected="a safetensors header", found="none that can be read", remedy=remedy
        ) from error
    if not isinstance(metadata, dict) or metadata.get("architecture") != "stylegan2":
        found = metadata.get("architecture") if isinstance(metadata, dict) else None
        raise CheckpointError(
            subject, expected="metadata with architecture stylegan2", found=repr(found), remedy=remedy
        )
    return {str(key): str(value) for key, value in metadata.items()}


def _config(metadata: dict[str, str], subject: str) -> StyleGAN2Config:
    values: dict[str, Any] = {}
    for name in _FIELDS.keys() & metadata.keys():
        text = metadata[name]
        try:
            values[name] = (None if text == "None" else float(text)) if name == "conv_clamp" else int(text)
        except ValueError:
            raise CheckpointError(f"{subject}: {name}", expected="a number", found=repr(text[:40])) from None
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


def _check_tensors(generator: Generator, tensors: dict[str, Tensor], subject: str) -> None:
    wanted = generator.state_dict()
    if missing := sorted(wanted.keys() - tensors.keys()):
        raise CheckpointError(subject, expected=f"{len(wanted)} tensors", found=f"none named {missing[0]}")
    if extra := sorted(tensors.keys() - wanted.keys()):
        raise CheckpointError(subject, expected=f"{len(wanted)} tensors", found=f"one more, {extra[0]}")
    for name, value in tensors.items():
        shape = tuple(wanted[name].shape)
        if tuple(value.shape) != shape or not value.is_floating_point():
            found = f"{tuple(value.shape)} {value.dtype}"
            raise CheckpointError(f"{subject}: {name}", expected=f"floating-point {shape}", found=found)
        if not torch.isfinite(value).all():
            raise CheckpointError(f"{subject}: {name}", expected="finite weights", found="NaN or infinity")
