"""Export of a workspace: gathers what the exporters take from an open engine."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import CheckpointError, NothingToDoError, UsageError
from everface.engine.generators.bases import Base
from everface.engine.generators.eg3d import TriPlaneGenerator, eg3d_from_bytes
from everface.engine.generators.stylegan2 import Generator
from everface.export.delta import export_delta
from everface.export.eg3d import export_eg3d
from everface.export.parity import Judge, Judging
from everface.export.recipe import TARGETS, ExportRecipe
from everface.export.report import ExportReport
from everface.export.stages import export_model

__all__ = ["PersonalModel", "export_file", "export_workspace"]


class _State(Protocol):
    @property
    def model(self) -> str:
        """SHA-256 of the current model file, empty before the first update."""


class _Store(Protocol):
    @property
    def state(self) -> _State: ...

    def anchors(self) -> list[tuple[int, NDArray[np.float32]]]: ...


class _Photo(Protocol):
    @property
    def crop_scale(self) -> float: ...


class _Config(Protocol):
    @property
    def photo(self) -> _Photo: ...


class _Kit(Protocol):
    @property
    def base(self) -> Base[Generator]: ...

    @property
    def config(self) -> _Config: ...


class PersonalModel(Protocol):
    """What is needed of an engine, so that this floor does not import a higher one."""

    @property
    def generator(self) -> Generator | TriPlaneGenerator:
        """The personal generator."""

    @property
    def store(self) -> _Store:
        """Anchors and the model's hash."""

    @property
    def kit(self) -> _Kit:
        """The base that it was tuned from."""


def export_workspace(
    engine: PersonalModel, target: str, path: Path, recipe: ExportRecipe | None = None, *, judge: Judging | None = None
) -> ExportReport:
    """Exports the person of an open engine.

    Args:
        engine: an open :class:`~everface.engine.session.Engine`.
        target: one of :data:`~everface.export.recipe.TARGETS`; goes before the recipe's.
        path: where to: see :func:`~everface.export.stages.export_model`.
        recipe: how.
        judge: looks at pictures; by default with the crop that the engine's photos have.

    Raises:
        NothingToDoError: the workspace has learned nobody yet.
        UsageError, ExportError, MissingBackendError: see :func:`~everface.export.stages.export_model`.
    """
    if target not in TARGETS:
        raise UsageError("to", expected=" or ".join(TARGETS), found=repr(target), remedy="choose one of these")
    recipe = replace(recipe or ExportRecipe(), target=target)
    anchors = [codes for _, codes in engine.store.anchors()]
    if not anchors:
        remedy = "run `everface update` with photos first"
        raise NothingToDoError("export", expected="a person", found="no update yet", remedy=remedy)
    base = engine.kit.base
    metadata = {
        "base": Path(base.name).name,
        "base_sha256": base.sha256,
        "model_sha256": engine.store.state.model,
        "terms": base.metadata.get("terms", "not stated by the base"),
        "trained_on": base.metadata.get("data", "not stated by the base"),
    }
    judge = judge or Judge(engine.kit.config.photo.crop_scale)
    if isinstance(engine.generator, TriPlaneGenerator):
        return export_eg3d(engine.generator, path, recipe, metadata=metadata, judge=judge)
    if target == "delta":
        return export_delta(base, engine.generator, anchors, path, recipe, judge)
    return export_model(engine.generator, anchors, path, recipe, metadata=metadata, judge=judge)


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
