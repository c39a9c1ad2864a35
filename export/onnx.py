"""The ONNX graphs of a StyleGAN2.

An app needs one file and no everface::

    session = onnxruntime.InferenceSession("me.onnx")
    weights = numpy.zeros((1, session.get_inputs()[0].shape[1]), numpy.float32)
    weights[0, :3] = 0.5, 0.3, 0.2  # of the person's first three anchors
    image = session.run(None, {"weights": weights})[0]  # [1, 3, 64, 64], about [-1, 1]
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from everface.engine.generators.stylegan2.weights import StyleGAN2Weights
from everface.export.custom import CUSTOM_DOMAIN, emit_custom_synthesis
from everface.export.graph import Arithmetic, GraphBuilder, arithmetic_of
from everface.export.model import Anchors
from everface.export.recipe import ExportRecipe
from everface.export.runtime.operators import OPERATORS_VERSION
from everface.export.stylegan2 import StyleSource, emit_mapping, emit_synthesis, gathered_styles, personal_styles

__all__ = ["build_graph"]

_IMAGE = (
    "image: RGB [n, channels, resolution, resolution], about [-1, 1]: clip, add 1 and multiply by 127.5 to show it."
)
_TEXTS = {
    "personal": "weights [n, anchors]: of the person's anchors, each row sums to 1; one anchor's weight 1 shows its "
    f"photo. {_IMAGE}",
    "synthesis": f"ws [n, num_ws, w_dim]: W+ codes; repeat a W code num_ws times. {_IMAGE}",
    "mapping": "z [n, z_dim]: standard normal. psi [1]: truncation, 1 for none. w: [n, w_dim].",
}
_CUSTOM = "Needs everface's operator library for ONNX Runtime."


def build_graph(
    graph: str, weights: StyleGAN2Weights, anchors: Anchors, recipe: ExportRecipe, metadata: Mapping[str, str],
    arithmetic: Arithmetic | None = None,
) -> onnx.ModelProto:  # fmt: skip
    """Builds one graph with a dynamic batch n, float32 inputs and outputs.

    - ``personal``: ``weights [n, a] -> image``. Hull weights over the person's a anchors (each row sums to 1), with the
      recipe's truncation; the anchors are part of the file, so that it needs nothing else.
    - ``synthesis``: ``ws [n, num_ws, w_dim] -> image``. W+ codes; with the recipe's ``noise_inputs`` the noise too.
    - ``mapping``: ``z [n, z_dim], psi [1] -> w [n, w_dim]``.

    Operators are standard ones, but in the recipe's variant ``custom``, which has everface's own in their place.

    Args:
        graph: its name.
        weights: of the generator.
        anchors: matter to ``personal`` alone.
        recipe: opset, truncation, precision (``int8`` gives the graph that is yet to be calibrated).
        metadata: text for the file.
        arithmetic: instead of the recipe's.

    Raises:
        ExportError: a weight is not finite in the precision, or the graph is not valid ONNX.
        UsageError: a precision or a generator that the custom operators do not cover.
    """
    config = weights.config
    if graph == "mapping":
        g = GraphBuilder(graph, _TEXTS[graph], arithmetic or arithmetic_of(recipe))
        w = emit_mapping(g, weights, g.input("z", ["n", config.z_dim]), g.input("psi", [1]))
        g.output(w, "w", ["n", config.w_dim])
        return g.model(recipe.graph_opset, metadata)
    if recipe.variant == "custom":
        g = GraphBuilder(graph, f"{_CUSTOM} {_TEXTS[graph]}", domains={CUSTOM_DOMAIN: OPERATORS_VERSION})
        style = _styles(g, graph, weights, anchors, recipe)
        image = emit_custom_synthesis(g, weights.synthesis(), style, recipe.precision)
    else:
        g = GraphBuilder(graph, _TEXTS[graph], arithmetic or arithmetic_of(recipe))
        style = _styles(g, graph, weights, anchors, recipe)
        noise = recipe.noise_inputs and graph == "synthesis"
        image = emit_synthesis(g, weights.synthesis(), style, noise=noise)
    g.output(image, "image", ["n", config.img_channels, config.resolution, config.resolution])
    return g.model(recipe.graph_opset, metadata)


def _styles(
    g: GraphBuilder, graph: str, weights: StyleGAN2Weights, anchors: Anchors, recipe: ExportRecipe
) -> StyleSource:
    if graph == "personal":
        truncated = anchors.truncated(weights.w_mean, recipe.psi)
        return personal_styles(g, g.input("weights", ["n", len(anchors)]), truncated)
    return gathered_styles(g, g.input("ws", ["n", weights.config.num_ws, weights.config.w_dim]))
