"""The ONNX graphs of a generator.

An app needs one file and no everface::

    session = onnxruntime.InferenceSession("me.onnx")
    weights = numpy.zeros((1, session.get_inputs()[0].shape[1]), numpy.float32)
    weights[0, :3] = 0.5, 0.3, 0.2  # of the person's first three anchors
    image = session.run(None, {"weights": weights})[0]  # [1, 3, 64, 64], about [-1, 1]
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

import everface
from everface.engine.errors import ExportError, UsageError
from everface.engine.generators.stylegan2 import Generator, StyleGAN2Config
from everface.export.custom import build_custom_graph
from everface.export.graph import Arithmetic, GraphBuilder, arithmetic_of
from everface.export.recipe import ExportRecipe
from everface.export.stylegan2 import emit_mapping, emit_synthesis, gathered_styles, personal_styles

__all__ = ["build_graph", "check_weights", "cut_generator", "graph_metadata", "joined_anchors"]

Array = NDArray[np.float32]
_IMAGE = (
    "image: RGB [n, channels, resolution, resolution], about [-1, 1]: clip, add 1 and multiply by 127.5 to show it."
)


def build_graph(
    graph: str, generator: Generator, anchors: Array, recipe: ExportRecipe, metadata: Mapping[str, str],
    arithmetic: Arithmetic | None = None,
) -> onnx.ModelProto:  # fmt: skip
    """Builds one graph with a dynamic batch n, float32 inputs and outputs, and standard operators alone.

    - ``personal``: ``weights [n, a] -> image``. Hull weights over the person's a anchors (each row sums to 1), with the
      recipe's truncation; the anchors are part of the file, so that it needs nothing else.
    - ``synthesis``: ``ws [n, num_ws, w_dim] -> image``. W+ codes; with the recipe's ``noise_inputs`` the noise too.
    - ``mapping``: ``z [n, z_dim], psi [1] -> w [n, w_dim]``.

    Args:
        graph: its name.
        generator: the weights.
        anchors: [a, w_dim], for ``personal`` alone.
        recipe: opset, truncation, precision (``int8`` gives the graph that is yet to be calibrated).
        metadata: text for the file.
        arithmetic: instead of the recipe's.

    Raises:
        ExportError: a weight is not finite in the precision, or the graph is not valid ONNX.
    """
    config, numbers = generator.config, arithmetic or arithmetic_of(recipe)
    if graph == "mapping":
        text = "z [n, z_dim]: standard normal. psi [1]: truncation, 1 for none. w: [n, w_dim]."
        g = GraphBuilder(graph, text, numbers)
        w = emit_mapping(g, generator.mapping, g.input("z", ["n", config.z_dim]), g.input("psi", [1]))
        g.output(w, "w", ["n", config.w_dim])
        return g.model(recipe.graph_opset, metadata)
    if recipe.variant == "custom":
        return build_custom_graph(
            graph, generator, anchors, recipe.precision, psi=recipe.psi, opset=recipe.graph_opset, metadata=metadata
        )
    if graph == "personal":
        text = (
            "weights [n, anchors]: of the person's anchors, each row sums to 1; one anchor's weight 1 shows its photo."
        )
        g = GraphBuilder(graph, f"{text} {_IMAGE}", numbers)
        # Rows sum to 1, so truncating the anchors truncates what they combine to.
        mean = generator.mapping.w_avg.detach().double().numpy()
        truncated = mean + recipe.psi * (anchors.astype(np.float64) - mean)
        style = personal_styles(g, g.input("weights", ["n", len(anchors)]), truncated)
    else:
        text = f"ws [n, num_ws, w_dim]: W+ codes; repeat a W code num_ws times. {_IMAGE}"
        g = GraphBuilder(graph, text, numbers)
        style = gathered_styles(g, g.input("ws", ["n", config.num_ws, config.w_dim]))
    noise = recipe.noise_inputs and graph == "synthesis"
    image = emit_synthesis(g, generator.synthesis, style, noise=noise)
    g.output(image, "image", ["n", config.img_channels, config.resolution, config.resolution])
    return g.model(recipe.graph_opset, metadata)


def cut_generator(generator: Generator, resolution: int | None) -> Generator:
    """The generator up to a resolution: every block of the skip architecture ends in a picture.

    Args:
        generator: any; unchanged.
        resolution: side of the smaller picture; None for the whole generator.

    Returns:
        A generator of its own that shares the weights.

    Raises:
        UsageError: the resolution is larger than the generator's.
    """
    whole = generator.config.resolution
    if resolution is None or resolution == whole:
        return generator
    if resolution > whole:
        remedy = f"choose {whole} or less"
        raise UsageError("resolution", expected=f"at most the model's {whole}", found=str(resolution), remedy=remedy)
    with torch.device("meta"):
        cut = Generator(dataclasses.replace(generator.config, resolution=resolution))
    weights = generator.state_dict()
    cut.load_state_dict({name: weights[name] for name in cut.state_dict()}, assign=True)
    return cut.eval().requires_grad_(False)


def check_weights(generator: Generator) -> None:
    """Raises ExportError unless the generator is float32, on the CPU, finite and without labels."""
    if not isinstance(generator, Generator):
        remedy = "export a workspace of dimension 2d"
        raise ExportError("generator", expected="a StyleGAN2", found=type(generator).__name__, remedy=remedy)
    if generator.config.c_dim:
        found = f"a label of {generator.config.c_dim} numbers"
        raise ExportError("generator", expected="one without labels (c_dim 0)", found=found)
    for name, value in generator.state_dict().items():
        if value.dtype != torch.float32 or value.device.type != "cpu":
            remedy = "pass generator.float().cpu()"
            raise ExportError(
                name, expected="float32 on the CPU", found=f"{value.dtype} on {value.device}", remedy=remedy
            )
        if not torch.isfinite(value).all():
            remedy = "tune again from an intact model"
            raise ExportError(name, expected="finite weights", found="NaN or infinity", remedy=remedy)


def joined_anchors(anchors: Sequence[Array], config: StyleGAN2Config, *, needed: bool) -> Array:
    """All anchors [a, w_dim] in order; raises UsageError where they do not fit, or none is there and one ``needed``."""
    for i, one in enumerate(anchors):
        if one.ndim != 2 or one.shape[1] != config.w_dim or not np.isfinite(one).all():
            found = f"shape {one.shape}" if one.ndim != 2 or one.shape[1] != config.w_dim else "NaN or infinity"
            raise UsageError(f"anchors[{i}]", expected=f"finite W codes [a, {config.w_dim}]", found=found)
    if needed and not sum(len(one) for one in anchors):
        remedy = "run `everface update` with photos first, or export the graphs synthesis and mapping"
        raise UsageError("anchors", expected="at least one W code for the personal graph", found="none", remedy=remedy)
    return np.concatenate([np.zeros((0, config.w_dim), np.float32), *anchors]).astype(np.float32)


def graph_metadata(config: StyleGAN2Config, groups: list[int], recipe: ExportRecipe) -> dict[str, str]:
    """What a file says about itself."""
    numbers = arithmetic_of(recipe)
    stored_alone = recipe.precision == "bf16" and numbers.compute == onnx.TensorProto.FLOAT
    stored_alone = stored_alone and recipe.variant == "portable"
    return {
        "everface_version": everface.__version__,
        "resolution": str(config.resolution),
        "precision": "bf16 weights, float32 arithmetic" if stored_alone else recipe.precision,
        "psi": f"{recipe.psi:g}",
        "anchor_groups": json.dumps(groups),
        "notice": "Makes pictures of one real person: handle it as you would handle photos of that person.",
    }
