"""The ONNX graphs of an EG3D: planes are drawn once, and each new view costs the renderer alone.

    planes = onnxruntime.InferenceSession("planes.onnx").run(None, {"ws": ws})[0]
    view = onnxruntime.InferenceSession("render.onnx")
    image = view.run(None, {"planes": planes, "ws": ws, "c": camera})[0]

The graphs are traced, with standard operators alone: planes are sampled by the 4-D GridSample at constant axes, and the
second pass counts instead of searching (:mod:`everface.engine.ops.volume.reference`).
"""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper
from torch import Tensor, nn

import everface
from everface.engine.errors import ExportError, UsageError
from everface.engine.generators.eg3d import TriPlaneGenerator
from everface.engine.latents.space import normal_z
from everface.engine.photos.camera import sample_cameras
from everface.export.parity import Case, Feeds, Judge, Judging
from everface.export.recipe import GRAPHS_3D, ExportRecipe
from everface.export.report import ExportReport
from everface.export.stages import Job, ProvenGraph, prove_model, write_proven
from everface.export.targets import target_of

__all__ = ["build_eg3d_graph", "eg3d_case", "export_eg3d"]

Array = NDArray[np.float32]
_TEXTS = {
    "planes": "ws [n, num_ws, w_dim]: W+ codes. planes [n, 3, features, r, r]: keep them for as many views as wanted.",
    "render": "planes: as the other graph gives them. ws: their codes, where there is a superresolution. c [n, 25]: "
    "cameras in EG3D's convention. image: RGB [n, 3, resolution, resolution], about [-1, 1].",
}


class _Planes(nn.Module):
    def __init__(self, generator: TriPlaneGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, ws: Tensor) -> Tensor:
        return self.generator.planes(ws)


class _View(nn.Module):
    def __init__(self, generator: TriPlaneGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, planes: Tensor, ws: Tensor, c: Tensor) -> Tensor:
        return self.generator.view(planes, ws, c).image


class _PlainView(_View):
    def forward(self, planes: Tensor, c: Tensor) -> Tensor:  # type: ignore[override]
        return self.generator.view(planes, planes, c).image  # no superresolution: nobody reads the codes


def export_eg3d(
    generator: TriPlaneGenerator, path: Path, recipe: ExportRecipe | None = None, *,
    metadata: Mapping[str, str] | None = None, judge: Judging | None = None,
) -> ExportReport:  # fmt: skip
    """Writes a generator's ``planes`` and ``render`` graphs and proves them equal to PyTorch.

    Args:
        generator: float32, on the CPU.
        path: a file of the target's suffix for one graph, or a folder for both and ``manifest.json``.
        recipe: the targets onnx, ort, tensorrt and tensorrt-rtx in fp32, graphs of :data:`GRAPHS_3D`.
        metadata: text for the files' metadata.
        judge: looks at pictures; the engine's by default.

    Raises:
        UsageError: a recipe that this generator has not.
        ExportError, MissingBackendError: as :func:`everface.export.stages.export_model`.
    """
    start = time.monotonic()
    path, recipe = Path(path), recipe or ExportRecipe()
    graphs = _graphs(recipe, path)
    for name, value in generator.state_dict().items():
        if value.dtype != torch.float32 or value.device.type != "cpu" or not torch.isfinite(value).all():
            found = f"{value.dtype} on {value.device}, finite: {bool(torch.isfinite(value).all())}"
            raise ExportError(name, expected="finite float32 on the CPU", found=found, remedy="pass an intact model")
    told = {
        "everface_version": everface.__version__,
        "architecture": "eg3d",
        "resolution": str(generator.config.resolution),
        "precision": recipe.precision,
    } | dict(metadata or {})
    job = Job(recipe, told, judge or Judge(), target_of(recipe.target))
    return write_proven(job, path, lambda: [prove_eg3d_graph(graph, generator, job) for graph in graphs], start)


def prove_eg3d_graph(graph: str, generator: TriPlaneGenerator, job: Job) -> ProvenGraph:
    """Builds one graph, encodes it and compares it with PyTorch.

    Raises:
        ExportError: beyond the tolerance.
        MissingBackendError: it cannot run here, and the recipe requires that it does.
    """
    model = build_eg3d_graph(graph, generator, job.recipe, {**job.metadata, "graph": graph})
    return prove_model(eg3d_case(graph, generator, job.recipe), model, job)


def _graphs(recipe: ExportRecipe, path: Path) -> tuple[str, ...]:
    plain = recipe.precision == "fp32" and recipe.variant == "portable" and not recipe.noise_inputs
    if recipe.target in ("bundle", "delta") or not plain or recipe.resolution is not None:
        found = f"{recipe.target}, {recipe.precision}, {recipe.variant}, resolution {recipe.resolution}"
        expected = "the target onnx, ort, tensorrt or tensorrt-rtx, fp32, portable, without a resolution"
        raise UsageError("recipe of an EG3D", expected=expected, found=found, remedy="change the recipe")
    graphs = recipe.graphs or GRAPHS_3D
    if not set(graphs) <= set(GRAPHS_3D):
        expected = f"some of {', '.join(GRAPHS_3D)}"
        raise UsageError("graphs", expected=expected, found=", ".join(graphs), remedy="an EG3D has these")
    if recipe.is_file(path) and len(graphs) > 1:
        remedy = "pass a folder, or --graphs render"
        raise UsageError("graphs", expected=f"one for the file {path.name}", found=str(graphs), remedy=remedy)
    return graphs


def build_eg3d_graph(
    graph: str, generator: TriPlaneGenerator, recipe: ExportRecipe, metadata: Mapping[str, str]
) -> onnx.ModelProto:
    """Traces one graph with a dynamic batch n, float32 inputs and outputs, and standard operators alone.

    - ``planes``: ``ws [n, num_ws, w_dim] -> planes [n, 3, features, r, r]``.
    - ``render``: ``planes, ws, c [n, 25] -> image [n, 3, resolution, resolution]``, from the middle of every interval;
      without a superresolution there is no ``ws``.

    Raises:
        ExportError: the result is not valid ONNX.
    """
    module, feeds = _module(graph, generator, 2)
    buffer, inputs = io.BytesIO(), list(feeds)
    place: Any = buffer  # its type is declared as a path alone
    output = "planes" if graph == "planes" else "image"
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sizes that the trace fixes are fixed in the graph
        torch.onnx.export(
            module, tuple(torch.from_numpy(one) for one in feeds.values()), place, dynamo=False,
            opset_version=min(recipe.graph_opset, 20), input_names=inputs, output_names=[output],
            dynamic_axes={name: {0: "n"} for name in (*inputs, output)},
        )  # fmt: skip
    model = onnx.load_from_string(buffer.getvalue())
    model.producer_name, model.doc_string, model.graph.name = "everface", _TEXTS[graph], graph
    helper.set_model_props(model, dict(metadata))
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"graph {graph}", expected="a valid ONNX model", found=str(error)) from error
    return model


def eg3d_case(graph: str, generator: TriPlaneGenerator, recipe: ExportRecipe) -> Case:
    """The test of one graph: random Z codes, each from a camera of its own."""
    module, feeds = _module(graph, generator, recipe.samples, recipe.seed)

    @torch.no_grad()
    def reference(batch: Feeds) -> Array:
        return np.asarray(module(*(torch.from_numpy(batch[name]) for name in feeds)).numpy())

    return Case(graph, feeds, {}, reference, graph == "render")


@torch.no_grad()
def _module(graph: str, generator: TriPlaneGenerator, n: int, seed: int = 0) -> tuple[nn.Module, Feeds]:
    """What computes a graph, and n inputs of it."""
    backbone = generator.config.backbone
    c = sample_cameras(n, np.random.default_rng(seed), yaw=(-30, 30), pitch=(-15, 15))
    cameras = torch.as_tensor(np.asarray(c), dtype=torch.float32)
    ws = generator.mapping(normal_z(n, backbone.z_dim, seed), cameras if backbone.c_dim else None, psi=0.7)
    ws = ws[:, None].expand(-1, backbone.num_ws, -1).contiguous() if ws.ndim == 2 else ws
    if graph == "planes":
        return _Planes(generator).eval(), {"ws": ws.numpy()}
    planes, label = generator.planes(ws).numpy(), cameras.numpy()
    if generator.config.superresolution == "none":
        return _PlainView(generator).eval(), {"planes": planes, "c": label}
    return _View(generator).eval(), {"planes": planes, "ws": ws.numpy(), "c": label}
