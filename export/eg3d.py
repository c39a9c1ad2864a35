"""The ONNX graphs of an EG3D: planes are drawn once, and each new view costs the renderer alone.

    planes = onnxruntime.InferenceSession("planes.onnx").run(None, {"ws": ws})[0]
    view = onnxruntime.InferenceSession("render.onnx")
    image = view.run(None, {"planes": planes, "c": camera})[0]

Planes are StyleGAN2's (``everface.export.stylegan2``). The renderer is traced, with standard operators alone: planes
are sampled by the 4-D GridSample at constant axes, and the second pass counts instead of searching
(``everface.engine.ops.volume.reference``).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from everface.engine.generators.eg3d.config import LABEL_DIM
from everface.engine.generators.eg3d.generator import TriPlaneGenerator
from everface.export.graph import GraphBuilder
from everface.export.model import Anchors
from everface.export.recipe import ExportRecipe
from everface.export.stylegan2 import emit_synthesis, gathered_styles, personal_styles
from everface.export.targets import optimised

NEWEST_TRACED_OPSET = 20
_CAMERA = "c [n, 25]: cameras in EG3D's convention."
_IMAGE = "image: RGB [n, 3, resolution, resolution], about [-1, 1]."
_TEXTS = {
    "personal": f"weights [n, anchors]: of the person's anchors, each row sums to 1. {_CAMERA} {_IMAGE}",
    "view": f"ws [n, num_ws, w_dim]: W+ codes. {_CAMERA} {_IMAGE}",
    "planes": "ws [n, num_ws, w_dim]: W+ codes. planes [n, 3, features, r, r]: keep them for as many views as wanted.",
    "render": "planes: as the other graph gives them. ws: their codes, where there is a superresolution. "
    f"{_CAMERA} {_IMAGE}",
}


class _View(nn.Module):
    """Planes, their styles where a superresolution reads them, and cameras to images."""

    def __init__(self, generator: TriPlaneGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, planes: Tensor, *rest: Tensor) -> Tensor:
        ws, c = rest if len(rest) == 2 else (planes, rest[0])
        return self.generator.view(planes, ws, c).image


def build_eg3d_graph(
    graph: str, generator: TriPlaneGenerator, anchors: Anchors, recipe: ExportRecipe, metadata: Mapping[str, str]
) -> onnx.ModelProto:
    """Builds one graph with float32 inputs and outputs, and standard operators alone.

    - ``personal``: ``weights [n, a], c [n, 25] -> image``: hull weights over the person's anchors, which are part of
      the file, with the recipe's truncation.
    - ``view``: ``ws [n, num_ws, w_dim], c [n, 25] -> image``.
    - ``planes``: ``ws -> planes [n, 3, features, r, r]``.
    - ``render``: ``planes, c -> image``, with a superresolution also ``ws``.

    Rays are sampled at the middle of every interval. The batch n is dynamic, but one picture in a bundle, so that its
    reader can follow every shape.

    Raises:
        ExportError: the result is not valid ONNX.
    """
    opset = min(recipe.graph_opset, NEWEST_TRACED_OPSET)
    n: int | str = 1 if recipe.target == "bundle" else "n"
    g = GraphBuilder(graph, _TEXTS[graph])
    builder = _Builder(g, generator, opset, n)
    if graph == "personal":
        truncated = anchors.truncated(generator.w_mean.numpy(), recipe.psi)
        weights = g.input("weights", [n, len(anchors)])
        planes = builder.planes(personal_styles(g, weights, truncated))
        ws = g.node("MatMul", [weights, g.constant("anchors", truncated)], "w")
        value = builder.image(planes, g.node("Unsqueeze", [ws, g.constant("layers", [1])], "ws"))
    elif graph == "render":
        value = builder.image(g.input("planes", [n, *builder.plane_shape]), None)
    else:
        ws = g.input("ws", [n, generator.num_ws, generator.w_dim])
        value = builder.planes(gathered_styles(g, ws))
        value = value if graph == "planes" else builder.image(value, ws)
    side = generator.resolution
    if graph == "planes":
        g.output(value, "planes", [n, *builder.plane_shape])
    else:
        g.output(value, "image", [n, 3, side, side])
    return g.model(opset, metadata)


class _Builder:
    def __init__(self, g: GraphBuilder, generator: TriPlaneGenerator, opset: int, n: int | str) -> None:
        self.g, self.generator, self.opset, self.n = g, generator, opset, n
        side = generator.shape.resolution
        self.plane_shape = (3, generator.config.features, side, side)
        self._superresolution = generator.config.superresolution != "none"

    def planes(self, style: Any) -> str:
        """Styles to planes."""
        flat = emit_synthesis(self.g, self.generator.backbone.synthesis.arrays(), style)
        shape = self.g.constant("plane_shape", [-1 if self.n == "n" else self.n, *self.plane_shape])
        return self.g.node("Reshape", [flat, shape], "drawn")

    def image(self, planes: str, ws: str | None) -> str:
        """Planes and their styles (an input of the graph for None) to images; declares the cameras."""
        inputs = {"planes": planes}
        if self._superresolution:
            ws = ws or self.g.input("ws", [self.n, self.generator.num_ws, self.generator.w_dim])
            inputs["ws"] = ws
        inputs["c"] = self.g.input("c", [self.n, LABEL_DIM])
        return self.g.insert(self._traced(list(inputs)), inputs, "view.")

    def _traced(self, inputs: list[str]) -> onnx.ModelProto:
        n = 1 if self.n == 1 else 2
        shapes = {"planes": self.plane_shape, "ws": (1, self.generator.w_dim), "c": (LABEL_DIM,)}
        examples = tuple(torch.zeros(n, *shapes[name]) for name in inputs)
        dynamic = {"ws": {1: "layers"}} if self._superresolution and n == 2 else {}
        axes = {name: {0: "n"} | dynamic.get(name, {}) for name in (*inputs, "image")} if n == 2 else None
        buffer = io.BytesIO()
        place: Any = buffer  # its type is declared as a path alone
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes that the trace fixes are fixed in the graph
            torch.onnx.export(
                _View(self.generator).eval(), examples, place, dynamo=False, opset_version=self.opset,
                input_names=inputs, output_names=["image"], dynamic_axes=axes,
            )  # fmt: skip
        return _folded(buffer.getvalue()) if n == 1 else onnx.load_from_string(buffer.getvalue())


def _folded(data: bytes) -> onnx.ModelProto:
    """The model without what is constant in it, such as sums of shapes."""
    folded = onnx.load_from_string(optimised(data, "ONNX", "BASIC", ["MatMulAddFusion"]))
    for tensor in folded.graph.initializer:
        # Raw bytes, whatever ONNX Runtime stored.
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    return folded
