"""Export to ONNX: graphs are written, run in ONNX Runtime against PyTorch, and only then given their names.

An app needs one file and no everface::

    session = onnxruntime.InferenceSession("me.onnx")
    weights = numpy.zeros((1, session.get_inputs()[0].shape[1]), numpy.float32)
    weights[0, :3] = 0.5, 0.3, 0.2  # of the person's first three anchors
    image = session.run(None, {"weights": weights})[0]  # [1, 3, 64, 64], about [-1, 1]
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

import everface
from everface.engine.errors import ExportError, UsageError
from everface.engine.generators.stylegan2 import Generator, StyleGAN2Config
from everface.export.graph import GraphBuilder
from everface.export.parity import Case, compare, mapping_case, personal_case, synthesis_case
from everface.export.recipe import ExportedFile, ExportRecipe, ExportReport, Parity
from everface.export.stylegan2 import emit_mapping, emit_synthesis, gathered_styles, personal_styles

__all__ = ["build_graph", "export_onnx"]

Array = NDArray[np.float32]
_IMAGE = (
    "image: RGB [n, channels, resolution, resolution], about [-1, 1]: clip, add 1 and multiply by 127.5 to show it."
)


def export_onnx(
    generator: Generator,
    anchors: Sequence[Array],
    path: Path,
    recipe: ExportRecipe | None = None,
    *,
    metadata: Mapping[str, str] | None = None,
) -> ExportReport:
    """Writes a personal generator as ONNX and proves it equal to PyTorch.

    The graphs, all with a dynamic batch n, float32 and standard operators alone:

    - ``personal``: ``weights [n, a] -> image``. Hull weights over the person's a anchors (each row sums to 1), with the
      recipe's truncation; the anchors are part of the file, so that it needs nothing else.
    - ``synthesis``: ``ws [n, num_ws, w_dim] -> image``. W+ codes.
    - ``mapping``: ``z [n, z_dim], psi [1] -> w [n, w_dim]``.

    Args:
        generator: the personal generator, float32.
        anchors: W codes [a_i, w_dim] of the person's photos, an array a timestamp; may be empty without ``personal``.
        path: a ``.onnx`` file for one graph (replaced if it exists), or a folder for ``personal.onnx``,
            ``synthesis.onnx`` and ``mapping.onnx`` (made if need be).
        recipe: see :class:`ExportRecipe`.
        metadata: text for the files' metadata, such as ``base_sha256`` and ``terms``.

    Raises:
        UsageError: anchors or recipe do not fit the generator or the path.
        ExportError: weights are not finite, the path cannot be written, or the result differs from PyTorch by more than
            the tolerance. Files that were there before are left as they were, and no new one stays behind.
        MissingBackendError: there is no working ONNX Runtime to prove it with.
    """
    start = time.monotonic()
    path, recipe = Path(path), recipe or ExportRecipe()
    graphs = recipe.graphs_at(path)
    _check_weights(generator)
    codes = _joined(anchors, generator.config, needed="personal" in graphs)
    told = _metadata(generator.config, [len(one) for one in anchors], recipe) | dict(metadata or {})
    folder, made = _folder(path)
    staged: list[tuple[Path, Path]] = []
    files: list[ExportedFile] = []
    version = 0
    try:
        for graph in graphs:
            final = path if path.suffix == ".onnx" else folder / f"{graph}.onnx"
            scratch = _scratch(folder, final)
            staged.append((scratch, final))
            model = build_graph(graph, generator, codes, recipe, told | {"graph": graph})
            version = model.ir_version
            data = model.SerializeToString(deterministic=True)
            _write(scratch, data, final)
            parity = _prove(graph, scratch, generator, codes, recipe)
            files.append(ExportedFile(graph, final, len(data), hashlib.sha256(data).hexdigest(), parity))
        for scratch, final in staged:
            _rename(scratch, final)
    except BaseException:
        for scratch, _ in staged:
            scratch.unlink(missing_ok=True)
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    count = len(codes) if "personal" in graphs else 0
    worst = max(one.parity.max_error for one in files)
    seconds = time.monotonic() - start
    return ExportReport(recipe.target, recipe.precision, recipe.opset, version, count, tuple(files), worst, seconds)


def build_graph(
    graph: str, generator: Generator, anchors: Array, recipe: ExportRecipe, metadata: Mapping[str, str]
) -> onnx.ModelProto:
    """Builds one graph of :func:`export_onnx`; ``anchors`` [a, w_dim] matters to ``personal`` alone.

    Raises:
        ExportError: a weight is not finite, or the graph is not valid ONNX.
    """
    config = generator.config
    if graph == "mapping":
        g = GraphBuilder(graph, "z [n, z_dim]: standard normal. psi [1]: truncation, 1 for none. w: [n, w_dim].")
        w = emit_mapping(g, generator.mapping, g.input("z", ["n", config.z_dim]), g.input("psi", [1]))
        g.output(w, "w", ["n", config.w_dim])
        return g.model(recipe.opset, metadata)
    if graph == "personal":
        text = (
            "weights [n, anchors]: of the person's anchors, each row sums to 1; one anchor's weight 1 shows its photo."
        )
        g = GraphBuilder(graph, f"{text} {_IMAGE}")
        # Rows sum to 1, so truncating the anchors truncates what they combine to.
        mean = generator.mapping.w_avg.detach().double().numpy()
        truncated = mean + recipe.psi * (anchors.astype(np.float64) - mean)
        style = personal_styles(g, g.input("weights", ["n", len(anchors)]), truncated)
    else:
        g = GraphBuilder(graph, f"ws [n, num_ws, w_dim]: W+ codes; repeat a W code num_ws times. {_IMAGE}")
        style = gathered_styles(g, g.input("ws", ["n", config.num_ws, config.w_dim]))
    image = emit_synthesis(g, generator.synthesis, style)
    g.output(image, "image", ["n", config.img_channels, config.resolution, config.resolution])
    return g.model(recipe.opset, metadata)


def _prove(graph: str, path: Path, generator: Generator, codes: Array, recipe: ExportRecipe) -> Parity:
    case: Case
    if graph == "mapping":
        case = mapping_case(generator, recipe)
    elif graph == "personal":
        case = personal_case(generator, codes, recipe)
    else:
        case = synthesis_case(generator, codes, recipe)
    return compare(path, graph, case, recipe.tolerance)


def _check_weights(generator: Generator) -> None:
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


def _joined(anchors: Sequence[Array], config: StyleGAN2Config, *, needed: bool) -> Array:
    for i, one in enumerate(anchors):
        if one.ndim != 2 or one.shape[1] != config.w_dim or not np.isfinite(one).all():
            found = f"shape {one.shape}" if one.ndim != 2 or one.shape[1] != config.w_dim else "NaN or infinity"
            raise UsageError(f"anchors[{i}]", expected=f"finite W codes [a, {config.w_dim}]", found=found)
    if needed and not sum(len(one) for one in anchors):
        remedy = "run `everface update` with photos first, or export the graphs synthesis and mapping"
        raise UsageError("anchors", expected="at least one W code for the personal graph", found="none", remedy=remedy)
    return np.concatenate([np.zeros((0, config.w_dim), np.float32), *anchors]).astype(np.float32)


def _metadata(config: StyleGAN2Config, groups: list[int], recipe: ExportRecipe) -> dict[str, str]:
    return {
        "everface_version": everface.__version__,
        "resolution": str(config.resolution),
        "precision": recipe.precision,
        "psi": f"{recipe.psi:g}",
        "anchor_groups": json.dumps(groups),
        "notice": "Makes pictures of one real person: handle it as you would handle photos of that person.",
    }


def _folder(path: Path) -> tuple[Path, bool]:
    """The folder that files go to, and whether it was made now."""
    if path.suffix == ".onnx":
        if path.is_dir():
            raise ExportError(str(path), expected="a file", found="a folder", remedy="name another file")
        if not path.parent.is_dir():
            raise ExportError(
                str(path), expected="an existing folder for it", found="none", remedy="make the folder first"
            )
        return path.parent, False
    if path.exists() and not path.is_dir():
        remedy = "name a file that ends in .onnx, or a folder"
        raise ExportError(str(path), expected="a folder or a .onnx file", found="another file", remedy=remedy)
    try:
        made = not path.exists()
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    return path, made


def _scratch(folder: Path, final: Path) -> Path:
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{final.stem}-", suffix=".tmp")
        os.close(handle)
    except OSError as error:
        raise _unwritable(final, error) from error
    return Path(name)


def _write(path: Path, data: bytes, final: Path) -> None:
    try:
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _unwritable(final, error) from error


def _rename(scratch: Path, final: Path) -> None:
    try:
        # mkstemp makes files that only the owner reads, as befits pictures of a person; that is kept.
        os.replace(scratch, final)
    except OSError as error:
        raise _unwritable(final, error) from error


def _unwritable(path: Path, error: OSError) -> ExportError:
    found = error.strerror or str(error)
    return ExportError(
        str(path), expected="a place to write to", found=found, remedy="free space or choose another path"
    )
