"""Export of a workspace: gathers what the exporters take from its person."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import cast

from everface.engine.errors import CheckpointError, NothingToDoError, UsageError
from everface.engine.generators.bases import Base
from everface.engine.generators.eg3d import TriPlaneGenerator, eg3d_from_bytes
from everface.engine.generators.personal import personal_generator
from everface.engine.generators.stylegan2 import Generator
from everface.engine.session import Person
from everface.export.delta import export_delta
from everface.export.eg3d import export_eg3d
from everface.export.parity import Judge, Judging
from everface.export.recipe import TARGETS, ExportRecipe
from everface.export.report import ExportReport
from everface.export.stages import export_model

__all__ = ["export_file", "export_workspace"]


def export_workspace(
    person: Person, target: str, path: Path, recipe: ExportRecipe | None = None, *, judge: Judging | None = None
) -> ExportReport:
    """Exports a person, 2D or 3D.

    Args:
        person: :attr:`everface.engine.session.Engine.person`.
        target: one of :data:`~everface.export.recipe.TARGETS`; goes before the recipe's.
        path: where to: see :func:`~everface.export.stages.export_model`.
        recipe: how.
        judge: looks at pictures; by default with the crop that the workspace's photos have.

    Raises:
        NothingToDoError: the workspace has learned nobody yet.
        UsageError, ExportError, MissingBackendError: see :func:`~everface.export.stages.export_model`.
    """
    if target not in TARGETS:
        raise UsageError("to", expected=" or ".join(TARGETS), found=repr(target), remedy="choose one of these")
    recipe = replace(recipe or ExportRecipe(), target=target)
    if person.content is None or not person.anchors:
        remedy = "run `everface update` with photos first"
        raise NothingToDoError("export", expected="a person", found="no update yet", remedy=remedy)
    base = person.backend.base
    metadata = {
        "base": Path(base.name).name,
        "base_sha256": base.sha256,
        "model_sha256": hashlib.sha256(person.content).hexdigest(),
        "terms": base.metadata.get("terms", "not stated by the base"),
        "trained_on": base.metadata.get("data", "not stated by the base"),
    }
    judge = judge or Judge(person.config.photo.crop_scale)
    generator = personal_generator(base, person.content)
    if isinstance(generator, TriPlaneGenerator):
        return export_eg3d(generator, path, recipe, metadata=metadata, judge=judge)
    generator, flat = cast(Generator, generator), cast(Base[Generator], base)
    if target == "delta":
        return export_delta(flat, generator, person.anchors, path, recipe, judge)
    return export_model(generator, person.anchors, path, recipe, metadata=metadata, judge=judge)


def export_file(
    file: Path, target: str, path: Path, recipe: ExportRecipe | None = None, *, judge: Judging | None = None
) -> ExportReport:
    """Exports an EG3D from its safetensors file, such as ``everface import`` writes.

    Args:
        file: the ``.safetensors`` file.
        target, path, recipe, judge: as :func:`export_workspace`.

    Raises:
        CheckpointError: not such a file.
        UsageError, ExportError, MissingBackendError: see :func:`~everface.export.eg3d.export_eg3d`.
    """
    if target not in TARGETS:
        raise UsageError("to", expected=" or ".join(TARGETS), found=repr(target), remedy="choose one of these")
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CheckpointError(str(file), expected="a readable file", found=str(error.strerror)) from error
    generator, told = eg3d_from_bytes(data, file.name)
    metadata = {
        "model": file.name,
        "model_sha256": hashlib.sha256(data).hexdigest(),
        "terms": told.get("terms", "not stated by the file"),
    }
    recipe = replace(recipe or ExportRecipe(), target=target)
    return export_eg3d(generator, path, recipe, metadata=metadata, judge=judge)
