"""What the stages of an export hand to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from everface.export.model import Exportable
from everface.export.parity import Judging
from everface.export.recipe import ExportRecipe
from everface.export.report import Parity
from everface.export.targets import Target


@dataclass(frozen=True, eq=False)
class Job:
    """What the stages work with.

    Attributes:
        model: to export.
        recipe: what is wanted.
        metadata: text for the files.
        judge: looks at pictures.
        target: encodes graphs and runs them.
    """

    model: Exportable
    recipe: ExportRecipe
    metadata: Mapping[str, str]
    judge: Judging
    target: Target


@dataclass(frozen=True, eq=False)
class ProvenGraph:
    """A graph's bytes, and the proof of them."""

    graph: str
    data: bytes
    parity: Parity
    ir_version: int
