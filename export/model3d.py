"""An EG3D to export: its graphs and their tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch

from everface.engine.errors import ExportError, UsageError
from everface.engine.generators.eg3d.generator import TriPlaneGenerator
from everface.engine.photos.camera import orbit, sample_cameras
from everface.export.eg3d import build_eg3d_graph
from everface.export.graph import Arithmetic
from everface.export.model import Anchors, Array, Shape
from everface.export.model2d import normal, personal_weights, spread
from everface.export.parity import BATCHES, Case, Feeds
from everface.export.recipe import GRAPHS_3D, TOLERANCE_3D, ExportRecipe

_TARGETS = ("onnx", "ort", "tensorrt", "tensorrt-rtx", "bundle")


class Model3D:
    """An EG3D, personal where there are anchors.

    Args:
        generator: float32, on the CPU.
        anchors: W codes [a_i, w_dim] of the person's photos, an array a timestamp; may be empty.

    Raises:
        UsageError: anchors that do not fit.
        ExportError: weights that are not finite.
    """

    def __init__(self, generator: TriPlaneGenerator, anchors: Sequence[Array] = ()) -> None:
        for name, value in generator.state_dict().items():
            if value.dtype != torch.float32 or value.device.type != "cpu" or not torch.isfinite(value).all():
                found = f"{value.dtype} on {value.device}, finite: {bool(torch.isfinite(value).all())}"
                remedy = "tune again from an intact model"
                raise ExportError(name, expected="finite float32 on the CPU", found=found, remedy=remedy)
        self.notes = {"architecture": "eg3d"}
        self.generator = generator
        self.anchors = Anchors.joined(anchors, generator.w_dim)

    @property
    def shape(self) -> Shape:
        """Its sizes."""
        own = self.generator
        return Shape("3d", own.resolution, 3, own.z_dim, own.w_dim, own.num_ws)

    @property
    def mean(self) -> Array:
        """Mean [w_dim] of W."""
        return np.asarray(self.generator.w_mean.numpy())

    def graphs(self, recipe: ExportRecipe, path: Path) -> tuple[str, ...]:
        """The recipe's; by default ``personal``, or ``view`` without anchors; in a folder ``planes``, ``render`` too.

        Raises:
            UsageError: a recipe that 3D has not; it names what works.
        """
        plain = recipe.precision == "fp32" and recipe.variant == "portable" and not recipe.noise_inputs
        if recipe.target not in _TARGETS or not plain or recipe.resolution is not None:
            settings = (recipe.target, recipe.precision, recipe.variant, recipe.resolution, recipe.noise_inputs)
            remedy = f"choose --to {', '.join(_TARGETS[:-1])} or {_TARGETS[-1]}, in fp32, without further options"
            names = ("target", "precision", "variant", "resolution", "noise inputs")
            found = ", ".join(f"{name} {value}" for name, value in zip(names, settings, strict=True))
            raise UsageError("3D export", expected="a 3D recipe", found=found, remedy=remedy)
        usual = ("personal", "planes", "render") if len(self.anchors) else ("view", "planes", "render")
        known = ("personal",) if recipe.target == "bundle" else GRAPHS_3D
        return self.anchors.check_graphs(recipe.graphs_at(path, usual), known)

    def build(
        self, graph: str, recipe: ExportRecipe, metadata: dict[str, str], arithmetic: Arithmetic | None = None
    ) -> onnx.ModelProto:
        """One graph; see ``everface.export.eg3d.build_eg3d_graph``."""
        return build_eg3d_graph(graph, self.generator, self.anchors, recipe, metadata)

    def case(self, graph: str, recipe: ExportRecipe) -> Case:
        """The test of one graph: the person's codes and fresh ones, each from a camera of its own."""
        batches = (1,) if recipe.target == "bundle" else BATCHES
        if graph == "personal":
            weights = personal_weights(len(self.anchors), recipe)
            feeds = {"weights": weights, "c": self._cameras(len(weights), recipe)}
            return Case(graph, feeds, {}, lambda batch: self._personal(batch, recipe.psi), True, batches, TOLERANCE_3D)
        ws = self._codes(recipe)
        if graph == "planes":
            return Case(graph, {"ws": ws}, {}, lambda batch: self._planes(batch["ws"]), False, batches)
        feeds = {"ws": ws, "c": self._cameras(len(ws), recipe)}
        if graph == "render":
            feeds["planes"] = self._planes(ws)
            if self.generator.config.superresolution == "none":
                del feeds["ws"]  # nobody reads them
        return Case(graph, feeds, {}, self._view, True, batches, TOLERANCE_3D)

    def calibration(self, graph: str, recipe: ExportRecipe) -> Feeds:
        """Not wanted: 3D graphs are float32."""
        raise UsageError("precision", expected="fp32", found=recipe.precision, remedy="leave out --precision in 3D")

    def render(self, codes: Array) -> Array:
        """Pictures of W codes [n, w_dim], from the front."""
        return self._seen(codes, orbit([0.0] * len(codes)).astype(np.float32))

    def _cameras(self, n: int, recipe: ExportRecipe) -> Array:
        cameras = sample_cameras(n, np.random.default_rng(recipe.seed), yaw=(-30, 30), pitch=(-15, 15))
        return np.asarray(cameras, np.float32)

    @torch.no_grad()
    def _codes(self, recipe: ExportRecipe) -> Array:
        """W+ codes [n, num_ws, w_dim] of anchors and of random Z codes."""
        z = torch.from_numpy(normal(recipe.samples, self.shape.z_dim, recipe.seed))
        fresh = self.generator.map(z, torch.from_numpy(orbit(0.0)).float()).numpy()
        w = np.concatenate([self.anchors.codes[spread(len(self.anchors), 8)], self.mean + 0.7 * (fresh - self.mean)])
        return np.repeat(w[:, None], self.shape.num_ws, axis=1).astype(np.float32)

    def _personal(self, batch: Feeds, psi: float) -> Array:
        w = batch["weights"] @ self.anchors.codes
        return self._seen((self.mean + psi * (w - self.mean)).astype(np.float32), batch["c"])

    @torch.no_grad()
    def _seen(self, ws: Array, cameras: Array) -> Array:
        return np.asarray(self.generator.synthesis(torch.from_numpy(ws), torch.from_numpy(cameras)).image.numpy())

    @torch.no_grad()
    def _planes(self, ws: Array) -> Array:
        return np.asarray(self.generator.planes(torch.from_numpy(ws)).numpy())

    @torch.no_grad()
    def _view(self, batch: Feeds) -> Array:
        planes = batch["planes"] if "planes" in batch else self._planes(batch["ws"])
        ws = batch.get("ws", planes)
        inputs = (torch.from_numpy(array) for array in (planes, ws, batch["c"]))
        return np.asarray(self.generator.view(*inputs).image.numpy())
