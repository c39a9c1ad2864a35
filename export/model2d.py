"""A StyleGAN2 to export: its graphs and their tests, on NumPy arrays and the engine's own operators."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from everface.engine.errors import ExportError, UsageError
from everface.engine.generators.stylegan2.weights import StyleGAN2Weights
from everface.engine.ops.synthesis.inference import PackedSynthesis
from everface.export.graph import Arithmetic
from everface.export.model import Anchors, Array, Shape
from everface.export.onnx import build_graph
from everface.export.parity import Case, Feeds
from everface.export.recipe import GRAPHS, ExportRecipe

_MOST_ANCHORS = 32
_TEST_PSI = 0.7


class Model2D:
    """A personal StyleGAN2.

    Args:
        weights: the personal ones.
        anchors: W codes [a_i, w_dim] of the person's photos, an array a timestamp; may be empty.
        resolution: side of smaller pictures; None for the whole generator.

    Raises:
        UsageError: anchors that do not fit, or a resolution larger than the generator's.
        ExportError: weights that are not finite, or a generator with labels.
    """

    def __init__(self, weights: StyleGAN2Weights, anchors: Sequence[Array], resolution: int | None = None) -> None:
        if weights.config.c_dim:
            found = f"a label of {weights.config.c_dim} numbers"
            raise ExportError("generator", expected="one without labels (c_dim 0)", found=found)
        for name, array in weights.arrays.items():
            if not np.isfinite(array).all():
                remedy = "tune again from an intact model"
                raise ExportError(name, expected="finite weights", found="NaN or infinity", remedy=remedy)
        whole = weights.config.resolution
        if resolution is not None and resolution > whole:
            expected, remedy = f"at most the model's {whole}", f"choose {whole} or less"
            raise UsageError("resolution", expected=expected, found=str(resolution), remedy=remedy)
        self.notes = {} if resolution in (None, whole) else {"cut_from": str(whole)}
        self.weights = weights if resolution is None else weights.cut(resolution)
        self.anchors = Anchors.joined(anchors, weights.config.w_dim)

    @property
    def shape(self) -> Shape:
        """Its sizes."""
        config = self.weights.config
        sizes = (config.resolution, config.img_channels, config.z_dim, config.w_dim, config.num_ws)
        return Shape("2d", *sizes)

    @property
    def mean(self) -> Array:
        """Mean [w_dim] of W."""
        return self.weights.w_mean

    def graphs(self, recipe: ExportRecipe, path: Path) -> tuple[str, ...]:
        """The recipe's, which default to ``personal`` in a file and to all in a folder."""
        if recipe.target == "bundle":
            self.anchors.require()
        return self.anchors.check_graphs(recipe.graphs_at(path, GRAPHS), GRAPHS)

    def build(
        self, graph: str, recipe: ExportRecipe, metadata: dict[str, str], arithmetic: Arithmetic | None = None
    ) -> onnx.ModelProto:
        """One graph; see ``everface.export.onnx.build_graph``."""
        return build_graph(graph, self.weights, self.anchors, recipe, metadata, arithmetic)

    def case(self, graph: str, recipe: ExportRecipe) -> Case:
        """The test of one graph: every anchor, and fresh samples."""
        return {"mapping": self._mapping, "personal": self._personal, "synthesis": self._synthesis}[graph](recipe)

    def calibration(self, graph: str, recipe: ExportRecipe) -> Feeds:
        """Anchors and samples around them; without anchors, random W codes under a truncation of 0.7."""
        count, rng = len(self.anchors), np.random.default_rng([recipe.seed, 1])
        if graph == "personal":
            own = np.eye(count, dtype=np.float32)[spread(count, 32)]
            return {"weights": np.concatenate([own, hull_weights(count, 16, rng)])}
        random = self.weights.map(normal(16, self.shape.z_dim, recipe.seed + 1), psi=0.7)
        w = np.concatenate([self.anchors.codes[spread(count, 16)], random])
        return {"ws": np.repeat(w[:, None], self.shape.num_ws, axis=1)}

    def render(self, codes: Array) -> Array:
        """Pictures of W codes [n, w_dim] or W+ codes [n, num_ws, w_dim]."""
        return self._packed(codes)

    @cached_property
    def _packed(self) -> PackedSynthesis:
        return PackedSynthesis(self.weights.synthesis())

    def _personal(self, recipe: ExportRecipe) -> Case:
        """Every anchor (of more than 32 every so many), their mean, and random weights inside and beyond the hull."""
        weights = personal_weights(len(self.anchors), recipe)

        def reference(batch: Feeds) -> Array:
            w = batch["weights"] @ self.anchors.codes
            return self.render((self.mean + recipe.psi * (w - self.mean)).astype(np.float32))

        return Case("personal", {"weights": weights}, {}, reference, self.shape.channels == 3)

    def _synthesis(self, recipe: ExportRecipe) -> Case:
        """The anchors as W codes, and W+ codes whose layers come from different random Z codes."""
        shape, own = self.shape, self.anchors.codes[spread(len(self.anchors), 8)]
        fresh = self.weights.map(normal(recipe.samples * shape.num_ws, shape.z_dim, recipe.seed))
        fresh = fresh.reshape(recipe.samples, shape.num_ws, shape.w_dim)
        ws = np.concatenate([np.repeat(own[:, None], shape.num_ws, axis=1), fresh])
        return Case("synthesis", {"ws": ws}, {}, lambda batch: self.render(batch["ws"]), shape.channels == 3)

    def _mapping(self, recipe: ExportRecipe) -> Case:
        """Random Z codes, under a truncation that is neither 0 nor 1."""
        z = normal(max(recipe.samples, 16), self.shape.z_dim, recipe.seed)
        fixed = {"psi": np.array([_TEST_PSI], np.float32)}
        return Case("mapping", {"z": z}, fixed, lambda batch: self.weights.map(batch["z"], _TEST_PSI), False)


def personal_weights(count: int, recipe: ExportRecipe) -> Array:
    """Hull weights [n, count] to test with: single anchors, their mean, and random ones inside and beyond the hull."""
    own = np.eye(count, dtype=np.float32)[spread(count, _MOST_ANCHORS)]
    fresh = hull_weights(count, recipe.samples, np.random.default_rng(recipe.seed))
    return np.concatenate([own, np.full((1, count), 1 / count, np.float32), fresh])


def hull_weights(count: int, n: int, rng: np.random.Generator) -> Array:
    """Random weights [n, count] of sum 1, some of them below 0."""
    fresh = rng.dirichlet(np.full(count, 0.5), n)
    # P_beta reaches weights below 0: a third of the samples is pushed away from the mean.
    fresh[::3] = 1.3 * fresh[::3] - 0.3 / count
    return fresh.astype(np.float32)


def spread(count: int, most: int) -> NDArray[np.int64]:
    """Some of 0 .. count - 1, at most ``most``, evenly spaced."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def normal(n: int, dim: int, seed: int) -> Array:
    """Standard normal Z codes [n, dim]."""
    return np.random.default_rng(seed).standard_normal((n, dim), dtype=np.float32)
