"""What the stages of an export ask of a model, 2D or 3D."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from everface.engine.errors import UsageError
from everface.export.graph import Arithmetic
from everface.export.parity import Case, Feeds
from everface.export.recipe import ExportRecipe

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Shape:
    """Sizes of a model.

    Attributes:
        dimension: ``"2d"`` or ``"3d"``.
        resolution, channels: of the pictures.
        z_dim, w_dim, num_ws: of the codes.
    """

    dimension: str
    resolution: int
    channels: int
    z_dim: int
    w_dim: int
    num_ws: int


@dataclass(frozen=True, eq=False)
class Anchors:
    """W codes of the person's photos.

    Attributes:
        codes: [a, w_dim], in the order of time.
        groups: anchors a timestamp.
    """

    codes: Array
    groups: tuple[int, ...]

    @classmethod
    def joined(cls, groups: Sequence[Array], w_dim: int) -> Anchors:
        """Those of all timestamps.

        Args:
            groups: codes [a_i, w_dim], an array a timestamp.
            w_dim: width of a code.

        Raises:
            UsageError: they are not finite, or of another width.
        """
        for i, codes in enumerate(groups):
            fits = codes.ndim == 2 and codes.shape[1] == w_dim
            if not fits or not np.isfinite(codes).all():
                found = "NaN or infinity" if fits else f"shape {codes.shape}"
                raise UsageError(f"anchors[{i}]", expected=f"finite W codes [a, {w_dim}]", found=found)
        joined = np.concatenate([np.zeros((0, w_dim), np.float32), *groups]).astype(np.float32)
        return cls(joined, tuple(len(codes) for codes in groups))

    def __len__(self) -> int:
        return len(self.codes)

    def truncated(self, mean: Array, psi: float) -> NDArray[np.float64]:
        """Codes [a, w_dim] moved towards the mean by psi; what hull weights combine, since each row sums to 1."""
        exact = mean.astype(np.float64)
        return exact + psi * (self.codes.astype(np.float64) - exact)

    def require(self) -> None:
        """Raises UsageError where there are none."""
        if not len(self):
            expected = "at least one W code for the personal graph"
            remedy = "run `everface update` with photos first, or export other graphs"
            raise UsageError("anchors", expected=expected, found="none", remedy=remedy)

    def check_graphs(self, graphs: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
        """The graphs; raises UsageError for one that is not known, or that needs anchors where there are none."""
        if not set(graphs) <= set(known):
            expected, found = f"some of {', '.join(known)}", ", ".join(graphs)
            raise UsageError("graphs", expected=expected, found=found, remedy="this model has these")
        if "personal" in graphs:
            self.require()
        return graphs


class Exportable(Protocol):
    """A model and the person's anchors, as graphs with their tests."""

    @property
    def shape(self) -> Shape:
        """Its sizes."""

    @property
    def anchors(self) -> Anchors:
        """The person's codes."""

    @property
    def mean(self) -> Array:
        """Mean [w_dim] of W."""

    @property
    def notes(self) -> dict[str, str]:
        """Further text for the files."""

    def graphs(self, recipe: ExportRecipe, path: Path) -> tuple[str, ...]:
        """The graphs to write to a path.

        Raises:
            UsageError: the recipe asks for what this model has not.
        """

    def build(
        self, graph: str, recipe: ExportRecipe, metadata: dict[str, str], arithmetic: Arithmetic | None = None
    ) -> onnx.ModelProto:
        """One graph; ``arithmetic`` goes before the recipe's.

        Raises:
            ExportError: a weight is not finite in the precision, or the graph is not valid ONNX.
        """

    def case(self, graph: str, recipe: ExportRecipe) -> Case:
        """The test of one graph: the person's own codes, and fresh ones."""

    def calibration(self, graph: str, recipe: ExportRecipe) -> Feeds:
        """Inputs [n, ...] by name that show what activations a graph sees, others than those of the test."""

    def render(self, codes: Array) -> Array:
        """The engine's pictures [n, channels, r, r] of W codes [n, w_dim], in 3D from the front."""
