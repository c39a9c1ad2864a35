"""Export of a workspace: gathers what the exporters take from an open engine."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import NothingToDoError, UsageError
from everface.engine.generators.checkpoints import Base
from everface.engine.generators.stylegan2 import Generator
from everface.export.onnx import export_onnx
from everface.export.recipe import ExportRecipe, ExportReport

__all__ = ["PersonalModel", "export_workspace"]

TARGETS = ("onnx",)


class _State(Protocol):
    @property
    def model(self) -> str:
        """SHA-256 of the current model file, empty before the first update."""


class _Store(Protocol):
    @property
    def state(self) -> _State: ...

    def anchors(self) -> list[tuple[int, NDArray[np.float32]]]: ...


class _Kit(Protocol):
    @property
    def base(self) -> Base: ...


class PersonalModel(Protocol):
    """What is needed of an engine, so that this floor does not import a higher one."""

    @property
    def generator(self) -> Generator:
        """The personal generator."""

    @property
    def store(self) -> _Store:
        """Anchors and the model's hash."""

    @property
    def kit(self) -> _Kit:
        """The base that it was tuned from."""


def export_workspace(
    engine: PersonalModel, target: str, path: Path, recipe: ExportRecipe | None = None
) -> ExportReport:
    """Exports the person of an open engine.

    Args:
        engine: an open :class:`~everface.engine.session.Engine`.
        target: ``"onnx"``.
        path: where to: see :func:`~everface.export.onnx.export_onnx`.
        recipe: how.

    Raises:
        NothingToDoError: the workspace has learned nobody yet.
        UsageError, ExportError, MissingBackendError: see :func:`~everface.export.onnx.export_onnx`.
    """
    if target not in TARGETS:
        raise UsageError("to", expected=" or ".join(TARGETS), found=repr(target), remedy="choose one of these")
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
    return export_onnx(engine.generator, anchors, path, recipe, metadata=metadata)
