"""The files of an export: under scratch names until all of them are proven, then named at once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from everface.engine.errors import ExportError
from everface.export.job import Job, ProvenGraph
from everface.export.recipe import ExportRecipe
from everface.export.report import ExportedFile, ExportReport, Parity


def write_proven(
    job: Job, path: Path, prove: Callable[[], list[ProvenGraph]], start: float, anchors: int = 0
) -> ExportReport:
    """Proves graphs and writes them, all or none, with what belongs beside them.

    Args:
        job: what they are made with.
        path: a file, or a folder.
        prove: gives one graph or more; called once the place for them is found.
        start: when the export began, by ``time.monotonic``.
        anchors: in the personal graph.

    Raises:
        ExportError: the path cannot be written, or a file is larger than the recipe allows; and what ``prove`` raises.
    """
    recipe = job.recipe
    with folder_for(path, recipe) as folder:
        proven = prove()
        finals = [path if folder is None else folder / f"{one.graph}{recipe.suffix}" for one in proven]
        for one, final in zip(proven, finals, strict=True):
            check_size(final.name, one.data, recipe)
        files = [exported(one.graph, final, one.data, one.parity) for one, final in zip(proven, finals, strict=True)]
        extras = _companions(job, path, folder, files)
        write_all({final: one.data for one, final in zip(proven, finals, strict=True)} | extras)
    worst = max(one.parity.max_error for one in files)
    return ExportReport(
        recipe.target, recipe.precision, recipe.graph_opset, proven[0].ir_version, anchors, tuple(files), worst,
        time.monotonic() - start, tuple(extras),
    )  # fmt: skip


def exported(graph: str, path: Path, data: bytes, parity: Parity) -> ExportedFile:
    """What is said of a file."""
    return ExportedFile(graph, path, len(data), hashlib.sha256(data).hexdigest(), parity)


def check_size(subject: str, data: bytes, recipe: ExportRecipe) -> None:
    """Raises ExportError for a file that is larger than the recipe allows."""
    if recipe.size_limit is not None and len(data) > recipe.size_limit * 1e6:
        raise ExportError(
            subject, expected=f"at most {recipe.size_limit:g} MB", found=f"{len(data) / 1e6:.2f} MB",
            remedy="choose --precision fp16 or int8, or a smaller --resolution",
        )  # fmt: skip


def _companions(job: Job, path: Path, folder: Path | None, files: list[ExportedFile]) -> dict[Path, bytes]:
    """Further files by path: the manifest of a folder or an engine, lists of operators."""
    if job.recipe.target == "bundle":
        return {}
    place = folder or path.parent
    prefix = "" if folder else f"{path.name}."
    companions = {place / f"{prefix}{name}": data for name, data in job.target.companions().items()}
    if folder or job.recipe.target != "onnx":
        companions[place / f"{prefix}manifest.json"] = _manifest(job, files)
    return companions


def _manifest(job: Job, files: list[ExportedFile]) -> bytes:
    manifest = {
        "target": job.recipe.target,
        "precision": job.metadata["precision"],
        "opset": job.recipe.graph_opset,
        "everface": job.metadata["everface_version"],
        "metadata": dict(job.metadata),
        "files": [
            {"name": file.path.name, "bytes": file.bytes, "sha256": file.sha256, **file.parity.to_manifest()}
            for file in files
        ],
    }
    return (json.dumps(manifest, indent=1) + "\n").encode()


def write_all(files: Mapping[Path, bytes]) -> None:
    """Writes files beside their places, and gives them their names once all are whole; raises ExportError."""
    staged: list[tuple[Path, Path]] = []
    try:
        for final, data in files.items():
            # Such files only their owner reads, as befits pictures of a person; that is kept.
            with tempfile.NamedTemporaryFile(dir=final.parent, prefix=f".{final.stem}-", delete=False) as file:
                staged.append((Path(file.name), final))
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for scratch, final in staged:
            os.replace(scratch, final)
    except OSError as error:
        raise _unwritable(final, error) from error
    finally:
        for scratch, _ in staged:
            scratch.unlink(missing_ok=True)


@contextmanager
def folder_for(path: Path, recipe: ExportRecipe) -> Iterator[Path | None]:
    """The folder that files go to if there are to be several; made if need be, and after an error gone again."""
    folder, made = _folder(path, recipe)
    try:
        yield folder
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def _folder(path: Path, recipe: ExportRecipe) -> tuple[Path | None, bool]:
    if recipe.target in ("bundle", "delta") or recipe.is_file(path):
        if path.is_dir():
            raise ExportError(str(path), expected="a file", found="a folder", remedy="name another file")
        if not path.parent.is_dir():
            raise ExportError(
                str(path), expected="an existing folder for it", found="none", remedy="make the folder first"
            )
        return None, False
    if path.exists() and not path.is_dir():
        remedy = f"name a file that ends in {recipe.suffix}, or a folder"
        raise ExportError(
            str(path), expected=f"a folder or a {recipe.suffix} file", found="another file", remedy=remedy
        )
    try:
        made = not path.exists()
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    return path, made


def _unwritable(path: Path, error: OSError) -> ExportError:
    found = error.strerror or str(error)
    return ExportError(
        str(path), expected="a place to write to", found=found, remedy="free space or choose another path"
    )
