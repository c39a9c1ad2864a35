"""Export of a person, or of a generator's file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from everface.engine.errors import CheckpointError, NothingToDoError, UsageError
from everface.engine.generators.bases import generator_from_bytes
from everface.engine.generators.personal import personal_generator, personal_weights
from everface.engine.generators.stylegan2.weights import StyleGAN2Weights
from everface.engine.generators.weights import read_metadata
from everface.engine.session import Person
from everface.export.model import Array, Exportable
from everface.export.model2d import Model2D
from everface.export.parity import Judge, Judging
from everface.export.recipe import TARGETS, ExportRecipe
from everface.export.report import ExportReport
from everface.export.stages import export_model

if TYPE_CHECKING:
    from everface.engine.generators.eg3d.generator import TriPlaneGenerator
    from everface.engine.generators.protocol import FaceGenerator


def export_workspace(
    person: Person, target: str, path: Path, recipe: ExportRecipe | None = None, *, judge: Judging | None = None
) -> ExportReport:
    """Exports a person, 2D or 3D.

    Args:
        person: ``everface.engine.session.Engine.person``.
        target: one of ``everface.export.recipe.TARGETS``; goes before the recipe's.
        path: where to: see ``everface.export.stages.export_model``.
        recipe: how.
        judge: looks at pictures; by default with the crop that the workspace's photos have.

    Raises:
        NothingToDoError: the workspace has learned nobody yet.
        UsageError, ExportError, MissingBackendError: see ``everface.export.stages.export_model``.
    """
    recipe = _targeted(recipe, target)
    if person.content is None or not person.anchors:
        remedy = "run `everface update` with photos first"
        raise NothingToDoError("export", expected="a person", found="no update yet", remedy=remedy)
    base = person.backend.base
    model: Exportable
    if base.dimension == "2d":
        model = Model2D(personal_weights(base, person.content), person.anchors, recipe.resolution)
    else:
        model = _model3d(personal_generator(base, person.content), person.anchors)
    model.graphs(recipe, path)
    judge = judge or Judge(person.config.photo.crop_scale)
    if target == "delta":
        from everface.export.delta import export_delta

        return export_delta(base, cast(Model2D, model), path, recipe, judge)
    metadata = {
        "base": Path(base.name).name,
        "base_sha256": base.sha256,
        "model_sha256": hashlib.sha256(person.content).hexdigest(),
        "terms": base.metadata.get("terms", "not stated by the base"),
        "trained_on": base.metadata.get("data", "not stated by the base"),
    }
    return export_model(model, path, recipe, metadata=metadata, judge=judge)


def export_file(
    file: Path, target: str, path: Path, recipe: ExportRecipe | None = None, *, judge: Judging | None = None
) -> ExportReport:
    """Exports a generator from its safetensors file, such as ``everface import`` writes: nobody's, without anchors.

    Args:
        file: the ``.safetensors`` file.
        target, path, recipe, judge: as ``export_workspace``.

    Raises:
        CheckpointError: not such a file.
        UsageError, ExportError, MissingBackendError: see ``everface.export.stages.export_model``.
    """
    recipe = _targeted(recipe, target)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CheckpointError(str(file), expected="a readable file", found=str(error.strerror)) from error
    if target in ("bundle", "delta"):
        remedy = "name a workspace, or choose another target"
        raise UsageError(f"--to {target}", expected="a workspace with a person", found=file.name, remedy=remedy)
    model: Exportable
    metadata = read_metadata(data, file.name)
    if metadata.get("architecture") == "stylegan2":
        model = Model2D(StyleGAN2Weights.from_bytes(data, file.name), (), recipe.resolution)
    else:
        model = _model3d(generator_from_bytes(data, file.name)[0], ())
    texts = {
        "model": file.name,
        "model_sha256": hashlib.sha256(data).hexdigest(),
        "terms": metadata.get("terms", "not stated by the file"),
    }
    return export_model(model, path, recipe, metadata=texts, judge=judge)


def _targeted(recipe: ExportRecipe | None, target: str) -> ExportRecipe:
    if target not in TARGETS:
        raise UsageError("to", expected=" or ".join(TARGETS), found=repr(target), remedy="choose one of these")
    return replace(recipe or ExportRecipe(), target=target)


def _model3d(generator: FaceGenerator, anchors: Sequence[Array]) -> Exportable:
    from everface.export.model3d import Model3D

    return Model3D(cast("TriPlaneGenerator", generator), anchors)
