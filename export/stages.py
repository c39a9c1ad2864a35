"""The stages of an export: graphs are built, encoded for the target and run against the engine, and only then named."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import onnx

import everface
from everface.engine.errors import ExportError, MissingBackendError
from everface.export.graph import ARITHMETICS, arithmetic_of
from everface.export.job import Job, ProvenGraph
from everface.export.model import Exportable
from everface.export.parity import Case, Judge, Judging, compare
from everface.export.quantize import quantize_int8
from everface.export.recipe import ExportRecipe, Tolerance
from everface.export.report import ExportReport, Parity
from everface.export.targets import CannotRunError, OnnxTarget, target_of
from everface.export.writing import check_size, write_proven

__all__ = ["export_model"]

_NOTICE = "Makes pictures of one real person: handle it as you would handle photos of that person."


def export_model(
    model: Exportable, path: Path, recipe: ExportRecipe | None = None, *,
    metadata: Mapping[str, str] | None = None, judge: Judging | None = None,
) -> ExportReport:  # fmt: skip
    """Writes a personal model for another runtime and proves it equal to the engine.

    Args:
        model: with the person's anchors.
        path: a file of the target's suffix for one graph (replaced if it exists), or a folder, made if need be, for
            several graphs and ``manifest.json``. An engine's manifest lies beside it.
        recipe: see ``ExportRecipe``.
        metadata: text for the files' metadata, such as ``base_sha256`` and ``terms``.
        judge: measures perceptual distance and identity drift; the engine's by default.

    Raises:
        UsageError: the recipe does not fit the model or the path.
        ExportError: weights are not finite, the path cannot be written, a file is larger than the recipe allows, or the
            result differs from the engine's by more than the tolerance. Files that were there before are left as they
            were, and no new one stays behind.
        MissingBackendError: what builds or proves the target is not installed; or it cannot run here and the recipe
            requires the proof.
    """
    start = time.monotonic()
    path, recipe = Path(path), recipe or ExportRecipe()
    graphs = model.graphs(recipe, path)
    texts = _metadata(model, recipe) | model.notes | dict(metadata or {})
    job = Job(model, recipe, texts, judge or Judge(), target_of(recipe.target))

    def prove() -> list[ProvenGraph]:
        proven = [_prove_graph(graph, job) for graph in graphs]
        if recipe.target != "bundle":
            return proven
        from everface.export.bundle import prove_bundle

        return [prove_bundle(job, proven)]

    return write_proven(job, path, prove, start, len(model.anchors) if "personal" in graphs else 0)


def _metadata(model: Exportable, recipe: ExportRecipe) -> dict[str, str]:
    """What a file says about itself."""
    numbers = arithmetic_of(recipe)
    stored_alone = recipe.precision == "bf16" and numbers.compute == onnx.TensorProto.FLOAT
    stored_alone = stored_alone and recipe.variant == "portable"
    return {
        "everface_version": everface.__version__,
        "dimension": model.shape.dimension,
        "resolution": str(model.shape.resolution),
        "precision": "bf16 weights, float32 arithmetic" if stored_alone else recipe.precision,
        "psi": f"{recipe.psi:g}",
        "anchor_groups": json.dumps(model.anchors.groups),
        "notice": _NOTICE,
    }


def _prove_graph(graph: str, job: Job) -> ProvenGraph:
    """Builds one graph, encodes it and compares it with the engine.

    Raises:
        ExportError: beyond the tolerance.
        MissingBackendError: it cannot run here, and the recipe requires that it does.
    """
    recipe, source = job.recipe, job.model
    model = source.build(graph, recipe, {**job.metadata, "graph": graph})
    if recipe.precision == "int8" and graph != "mapping":
        symmetric = recipe.target.startswith("tensorrt")
        model = quantize_int8(model, source.calibration(graph, recipe), symmetric=symmetric)
    case, data = source.case(graph, recipe), job.target.encode(model)
    check_size(f"graph {graph}", data, recipe)
    try:
        runtime, run = job.target.open(data, graph)
        parity = compare(case, runtime, run, _tolerance(case, recipe), job.judge)
    except CannotRunError as error:
        if recipe.require_parity:
            raise MissingBackendError(
                f"parity of graph {graph}", expected=f"a machine that runs {recipe.target}", found=str(error),
                remedy="export on such a machine, or without --require-parity",
            ) from error  # fmt: skip
        parity = replace(_stand_in(case, model, job), not_run=str(error))
    if failures := parity.failures():
        raise ExportError(
            f"graph {graph} in {parity.runtime}", expected="a result within the tolerance of the engine's",
            found=", ".join(failures), remedy="the file was not kept; choose another precision, or allow more",
        )  # fmt: skip
    return ProvenGraph(graph, data, parity, model.ir_version)


def _stand_in(case: Case, model: onnx.ModelProto, job: Job) -> Parity:
    """The target's ONNX graph in ONNX Runtime; with bfloat16, which that lacks on a CPU, its weights alone."""
    note = ""
    if arithmetic_of(job.recipe).compute == onnx.TensorProto.BFLOAT16:
        arithmetic = replace(ARITHMETICS["bf16-stored"], phased=True)
        model = job.model.build(case.graph, job.recipe, dict(job.metadata), arithmetic)
        note = ", bf16 weights with float32 arithmetic"
    target = OnnxTarget()
    runtime, run = target.open(target.encode(model), case.graph)
    return compare(case, runtime + note, run, _tolerance(case, job.recipe), job.judge)


def _tolerance(case: Case, recipe: ExportRecipe) -> Tolerance:
    return recipe.tolerance or case.usual or recipe.tolerance_of(case.graph, case.images)
