"""A checkpoint in, a safetensors file with its model card out."""

from __future__ import annotations

import hashlib
import mmap
import os
from dataclasses import dataclass
from pathlib import Path

from everface.engine.atomic import write_whole
from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.importing.limits import MAX_FILE_BYTES, Budget, refuse
from everface.engine.generators.importing.network import Imported
from everface.engine.generators.importing.select import from_names, from_value, mapping_of
from everface.engine.generators.importing.storages import read_pickle, read_stream, read_zip
from everface.engine.generators.stylegan2.weights import check_stylegan2
from everface.engine.generators.weights import finite_float32, pack_arrays, read_arrays, read_metadata

LICENCE_NOTE = "the original's licence applies to these weights; read it where you got the file"
_STREAM = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
_READERS = {"pickle": read_pickle, "torch stream": read_stream, "torch zip": read_zip}


@dataclass(frozen=True)
class ImportReport:
    """What an import gave.

    Attributes:
        out: the file written.
        sha256: its hash, hex.
        bytes: its size.
        source, source_sha256: the checkpoint's file name and hash.
        format: ``pickle``, ``torch stream``, ``torch zip`` or ``safetensors``, and what the generator was called in it.
        architecture: ``stylegan2``, ``stylegan2-synthesis`` (no mapping network, so no base) or ``eg3d``.
        settings: the generator's settings, as text.
        tensors: how many.
        notes: what a user should know.
    """

    out: Path
    sha256: str
    bytes: int
    source: str
    source_sha256: str
    format: str
    architecture: str
    settings: dict[str, str]
    tensors: int
    notes: tuple[str, ...]


def import_checkpoint(
    source: str | os.PathLike[str], out: str | os.PathLike[str], *, mapping: str | os.PathLike[str] | None = None
) -> ImportReport:
    """Converts a checkpoint to safetensors; nothing in it is run.

    Args:
        source: NVIDIA's ``.pkl`` (StyleGAN2-ADA-PyTorch, StyleGAN3's ``stylegan2``, EG3D), rosinality's ``.pt``,
            MyStyle's ``mystyle_model.pt``, or safetensors with NVIDIA's or rosinality's names.
        out: the ``.safetensors`` file to write, whole or not at all.
        mapping: a checkpoint whose mapping network completes a file that has none (MyStyle's).

    Raises:
        CheckpointError: the file is damaged, made to do harm, or not of a kind that is known; nothing is written.
        UsageError: a path is not what it should be.
    """
    path, target = Path(source), Path(out)
    if target.suffix != ".safetensors" or target.is_dir():
        raise UsageError("--out", expected="a file that ends in .safetensors", found=str(target), remedy="rename it")
    if target.exists() and path.exists() and target.samefile(path):
        raise UsageError("--out", expected="another file than the checkpoint", found=str(target), remedy="rename it")
    imported, source_format = read_checkpoint(path)
    if mapping is not None:
        imported = mapping_of(imported, read_checkpoint(Path(mapping))[0])
    card = {
        **imported.settings,
        "architecture": imported.architecture,
        "source": path.name,
        "source_sha256": _sha256(path),
        "source_format": source_format,
        "licence": LICENCE_NOTE,
        **({"mapping_source": Path(mapping).name, "mapping_sha256": _sha256(Path(mapping))} if mapping else {}),
        **({"notes": "; ".join(imported.notes)} if imported.notes else {}),
    }
    data = pack_arrays(imported.tensors, card | {"model_card": _card(imported, card)})
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, data)
    return ImportReport(
        target,
        hashlib.sha256(data).hexdigest(),
        len(data),
        path.name,
        card["source_sha256"],
        source_format,
        imported.architecture,
        dict(imported.settings),
        len(imported.tensors),
        imported.notes,
    )


def read_checkpoint(path: Path) -> tuple[Imported, str]:
    """The generator in a checkpoint, complete and finite, and the format it was found in.

    Raises:
        CheckpointError: see ``import_checkpoint``.
        UsageError: there is no such file.
    """
    if not path.is_file():
        raise UsageError("FILE", expected="a checkpoint", found=f"no file {path}", remedy="check the path")
    size = path.stat().st_size
    try:
        if not 16 <= size <= MAX_FILE_BYTES:
            raise refuse(f"16 to {MAX_FILE_BYTES} bytes", f"{size} bytes")
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        imported, source_format = _read(data)
        if imported.architecture in ("stylegan2", "stylegan2-synthesis"):
            check_stylegan2(
                imported.settings, imported.tensors, path.name, mapping=imported.architecture == "stylegan2"
            )
        finite_float32(imported.tensors, path.name)
    except CheckpointError as error:
        subject = path.name if error.subject == "checkpoint" else error.subject
        details = {"expected": error.expected, "found": error.found, "remedy": error.remedy}
        raise CheckpointError(subject, **details) from error
    return imported, source_format


def _read(data: memoryview) -> tuple[Imported, str]:
    kind = _kind(data)
    if kind == "safetensors":
        return _read_safetensors(data), kind
    value = _READERS[kind](data, Budget())
    imported, name = from_value(value, len(data))
    return imported, f"{kind}, {name}"


def _kind(data: memoryview) -> str:
    head = bytes(data[:16])
    if head.startswith(_STREAM):
        return "torch stream"
    if head.startswith(b"PK\3\4"):
        return "torch zip"
    if head[0] == 0x80 and 2 <= head[1] <= 5:
        return "pickle"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < len(data):
        return "safetensors"
    if head[0] == 0x80:
        raise refuse("a pickle of protocol 2 to 5", f"protocol {head[1]}")
    raise refuse("a pickle, a file of torch.save, or safetensors", "a file of another kind")


def _read_safetensors(data: memoryview) -> Imported:
    metadata = read_metadata(data, "checkpoint")
    tensors = finite_float32(read_arrays(data, "checkpoint"), "checkpoint")
    if any(value.size == 0 for value in tensors.values()):
        raise refuse("tensors of numbers", "empty ones")
    if metadata.get("architecture") in ("stylegan2", "stylegan2-synthesis", "eg3d"):
        architecture = metadata.pop("architecture")
        return Imported(architecture, tensors, {k: v for k, v in metadata.items() if k not in _CARD})
    average = tensors.pop("latent_avg", None)
    return from_names(tensors, average)


_CARD = ("source", "source_sha256", "source_format", "licence", "model_card", "notes")


def _card(imported: Imported, card: dict[str, str]) -> str:
    settings = "\n".join(f"- {name}: {value}" for name, value in sorted(imported.settings.items()) if len(value) < 80)
    notes = "".join(f"\nNote: {note}." for note in imported.notes)
    return (
        f"# {imported.architecture} from {card['source']}\n"
        f"Converted by `everface import`; weights unchanged but for their names and layout, in float32.\n"
        f"Origin: {card['source']} ({card['source_format']}), SHA-256 {card['source_sha256']}.\n"
        f"Licence: {LICENCE_NOTE}.{notes}\n\n## Settings\n{settings}\n"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
