"""The stages of an export: graphs are built, encoded for the target and run against PyTorch, and only then named."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from everface.engine.errors import ExportError, MissingBackendError
from everface.engine.generators.stylegan2 import Generator
from everface.export.graph import ARITHMETICS, arithmetic_of
from everface.export.onnx import build_graph, check_weights, cut_generator, graph_metadata, joined_anchors
from everface.export.parity import Case, Judge, Judging, calibration_feeds, case_of, compare
from everface.export.quantize import quantize_int8
from everface.export.recipe import ExportRecipe
from everface.export.report import ExportedFile, ExportReport, Parity
from everface.export.targets import CannotRunError, OnnxTarget, Target, target_of

__all__ = ["Exporting", "Job", "ProvenGraph", "export_model", "prove_model", "staging", "write_proven"]

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Job:
    """What the stages of any generator work with.

    Attributes:
        recipe: what is wanted.
        metadata: text for the files.
        judge: looks at pictures.
        target: encodes graphs and runs them.
    """

    recipe: ExportRecipe
    metadata: Mapping[str, str]
    judge: Judging
    target: Target


@dataclass(frozen=True, eq=False)
class Exporting(Job):
    """The same for a StyleGAN2.

    Attributes:
        generator: cut to the recipe's resolution.
        groups: anchors a timestamp.
        anchors: all of them [a, w_dim].
    """

    generator: Generator
    groups: tuple[int, ...]
    anchors: Array


@dataclass(frozen=True, eq=False)
class ProvenGraph:
    """A graph's bytes, and the proof of them."""

    graph: str
    data: bytes
    parity: Parity
    ir_version: int


def export_model(
    generator: Generator, anchors: Sequence[Array], path: Path, recipe: ExportRecipe | None = None, *,
    metadata: Mapping[str, str] | None = None, judge: Judging | None = None,
) -> ExportReport:  # fmt: skip
    """Writes a personal generator for another runtime and proves it equal to PyTorch.

    Args:
        generator: the personal generator, float32.
        anchors: W codes [a_i, w_dim] of the person's photos, an array a timestamp; may be empty without ``personal``.
        path: a file of the target's suffix for one graph (replaced if it exists), or a folder, made if need be, for
            several graphs and ``manifest.json``. An engine's manifest lies beside it.
        recipe: see :class:`ExportRecipe`.
        metadata: text for the files' metadata, such as ``base_sha256`` and ``terms``.
        judge: measures perceptual distance and identity drift; the engine's by default.

    Raises:
        UsageError: anchors or recipe do not fit the generator or the path.
        ExportError: weights are not finite, the path cannot be written, a file is larger than the recipe allows, or the
            result differs from PyTorch by more than the tolerance. Files that were there before are left as they were,
            and no new one stays behind.
        MissingBackendError: what builds or proves the target is not installed; or it cannot run here and the recipe
            requires the proof.
    """
    start = time.monotonic()
    path, recipe = Path(path), recipe or ExportRecipe()
    graphs = recipe.graphs_at(path)
    check_weights(generator)
    cut = cut_generator(generator, recipe.resolution)
    codes = joined_anchors(anchors, cut.config, needed="personal" in graphs or recipe.target == "bundle")
    groups = tuple(len(one) for one in anchors)
    told = graph_metadata(cut.config, list(groups), recipe) | dict(metadata or {})
    if cut is not generator:
        told["cut_from"] = str(generator.config.resolution)
    judge = judge or Judge()
    job = Exporting(recipe, told, judge or Judge(), target_of(recipe.target), cut, groups, codes)

    def prove() -> list[ProvenGraph]:
        found = [prove_graph(graph, job) for graph in graphs]
        if recipe.target != "bundle":
            return found
        from everface.export.bundle import prove_bundle

        return [prove_bundle(job, found)]

    return write_proven(job, path, prove, start, len(codes) if "personal" in graphs else 0)


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
    with staging(path, recipe) as (staged, folder):
        proven = prove()
        files = []
        for one in proven:
            final = path if folder is None else folder / f"{one.graph}{recipe.suffix}"
            _check_size(final.name, one.data, recipe)
            staged.write(final, one.data)
            files.append(
                ExportedFile(one.graph, final, len(one.data), hashlib.sha256(one.data).hexdigest(), one.parity)
            )
        extras = _companions(job, path, folder, files, [one.data for one in proven])
        for final, data in extras.items():
            staged.write(final, data)
        staged.commit()
    worst = max(one.parity.max_error for one in files)
    return ExportReport(
        recipe.target, recipe.precision, recipe.graph_opset, proven[0].ir_version, anchors, tuple(files), worst,
        time.monotonic() - start, tuple(extras),
    )  # fmt: skip


def prove_graph(graph: str, job: Exporting) -> ProvenGraph:
    """Builds one graph, encodes it and compares it with PyTorch.

    Raises:
        ExportError: beyond the tolerance.
        MissingBackendError: it cannot run here, and the recipe requires that it does.
    """
    recipe = job.recipe
    model = build_graph(graph, job.generator, job.anchors, recipe, {**job.metadata, "graph": graph})
    if recipe.precision == "int8" and graph != "mapping":
        feeds = calibration_feeds(graph, job.generator, job.anchors, recipe)
        model = quantize_int8(model, feeds, symmetric=recipe.target.startswith("tensorrt"))
    case = case_of(graph, job.generator, job.anchors, recipe)
    return prove_model(case, model, job, lambda: _stand_in(graph, model, job, case))


def prove_model(
    case: Case, model: onnx.ModelProto, job: Job, stand_in: Callable[[], Parity] | None = None
) -> ProvenGraph:
    """Encodes a graph for the target and compares it with PyTorch.

    Args:
        case: its test.
        model: the graph.
        job: recipe, judge and target.
        stand_in: compares something else where the target cannot run here; by default the graph in ONNX Runtime.

    Raises:
        ExportError: beyond the tolerance.
        MissingBackendError: it cannot run here, and the recipe requires that it does.
    """
    recipe, graph = job.recipe, case.graph
    data = job.target.encode(model)
    _check_size(f"graph {graph}", data, recipe)
    tolerance = recipe.tolerance_of(graph, case.images)
    try:
        runtime, run = job.target.open(data, graph)
        parity = compare(case, runtime, run, tolerance, job.judge)
    except CannotRunError as error:
        if recipe.require_parity:
            raise MissingBackendError(
                f"parity of graph {graph}", expected=f"a machine that runs {recipe.target}", found=str(error),
                remedy="export on such a machine, or without --require-parity",
            ) from error  # fmt: skip
        instead = stand_in or (lambda: _in_onnxruntime(case, model, job))
        parity = replace(instead(), not_run=str(error))
    if failures := parity.failures():
        raise ExportError(
            f"graph {graph} in {parity.runtime}", expected="a result within the tolerance of PyTorch's",
            found=", ".join(failures), remedy="the file was not kept; choose another precision, or allow more",
        )  # fmt: skip
    return ProvenGraph(graph, data, parity, model.ir_version)


def _in_onnxruntime(case: Case, model: onnx.ModelProto, job: Job, note: str = "") -> Parity:
    target = OnnxTarget()
    runtime, run = target.open(target.encode(model), case.graph)
    return compare(case, runtime + note, run, job.recipe.tolerance_of(case.graph, case.images), job.judge)


def _stand_in(graph: str, model: onnx.ModelProto, job: Exporting, case: Case) -> Parity:
    """The target's ONNX graph in ONNX Runtime; with bfloat16, which that lacks on a CPU, its weights alone."""
    note = ""
    if arithmetic_of(job.recipe).compute == onnx.TensorProto.BFLOAT16:
        arithmetic = replace(ARITHMETICS["bf16-stored"], phased=True)
        model = build_graph(graph, job.generator, job.anchors, job.recipe, job.metadata, arithmetic)
        note = ", bf16 weights with float32 arithmetic"
    return _in_onnxruntime(case, model, job, note)


def _check_size(subject: str, data: bytes, recipe: ExportRecipe) -> None:
    if recipe.size_limit is not None and len(data) > recipe.size_limit * 1e6:
        raise ExportError(
            subject, expected=f"at most {recipe.size_limit:g} MB", found=f"{len(data) / 1e6:.2f} MB",
            remedy="choose --precision fp16 or int8, or a smaller --resolution",
        )  # fmt: skip


def _companions(
    job: Job, path: Path, folder: Path | None, files: list[ExportedFile], datas: list[bytes]
) -> dict[Path, bytes]:
    """Further files by path: the manifest of a folder or an engine, lists of operators."""
    if job.recipe.target == "bundle":
        return {}
    place = folder or path.parent
    prefix = "" if folder else f"{path.name}."
    found = {place / f"{prefix}{name}": data for name, data in job.target.companions(datas).items()}
    if folder or job.recipe.target != "onnx":
        found[place / f"{prefix}manifest.json"] = _manifest(job, files)
    return found


def _manifest(job: Job, files: list[ExportedFile]) -> bytes:
    told = {
        "target": job.recipe.target,
        "precision": job.metadata["precision"],
        "opset": job.recipe.graph_opset,
        "torch": torch.__version__,
        "metadata": dict(job.metadata),
        "files": [
            {"name": one.path.name, "bytes": one.bytes, "sha256": one.sha256, **one.parity.to_manifest()}
            for one in files
        ],
    }
    return (json.dumps(told, indent=1) + "\n").encode()


class _Staged:
    """Files under scratch names in their own folder, until all are named at once."""

    def __init__(self) -> None:
        self._files: list[tuple[Path, Path]] = []

    def write(self, final: Path, data: bytes) -> None:
        try:
            # mkstemp makes files that only the owner reads, as befits pictures of a person; that is kept.
            handle, name = tempfile.mkstemp(dir=final.parent, prefix=f".{final.stem}-", suffix=".tmp")
            self._files.append((Path(name), final))
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _unwritable(final, error) from error

    def commit(self) -> None:
        for scratch, final in self._files:
            try:
                os.replace(scratch, final)
            except OSError as error:
                raise _unwritable(final, error) from error

    def discard(self) -> None:
        for scratch, _ in self._files:
            scratch.unlink(missing_ok=True)


@contextmanager
def staging(path: Path, recipe: ExportRecipe) -> Iterator[tuple[_Staged, Path | None]]:
    """Where files go, and the folder if there are to be several; after an error nothing new is left."""
    folder, made = _folder(path, recipe)
    staged = _Staged()
    try:
        yield staged, folder
    except BaseException:
        staged.discard()
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
