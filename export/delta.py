"""A personal model as a small difference from its base: the base's hash, and low-rank factors in int8.

Each changed matrix is written as a truncated singular value decomposition (Eckart and Young, 1936) of what tuning
changed; the bytes go where a singular value, relative to the base's matrix, buys the most. A model tuned in full is
only approximated, with an error that is measured; one whose changes have a low rank is kept whole.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import everface
from everface.engine.errors import CheckpointError, ExportError
from everface.engine.generators.bases import Base
from everface.engine.generators.stylegan2.weights import StyleGAN2Weights
from everface.engine.generators.weights import pack_arrays, read_arrays, read_metadata
from everface.export.model2d import Model2D
from everface.export.parity import Judging, compare
from everface.export.recipe import DELTA_MEGABYTES, ExportRecipe
from everface.export.report import ExportReport
from everface.export.writing import exported, folder_for, write_all

if TYPE_CHECKING:
    from everface.engine.generators.protocol import FaceGenerator

__all__ = ["apply_delta", "export_delta", "pack_delta"]

Array = NDArray[np.float32]
_SMALL = 4096  # numbers; below, an array is written as it is, in half precision
_HEADER = 220  # bytes of the file's header a matrix: three names, shapes and offsets, about
_KIND = "everface-delta"


def export_delta(
    base: Base[FaceGenerator], personal: Model2D, path: Path, recipe: ExportRecipe, judge: Judging
) -> ExportReport:
    """Writes a delta and compares what it gives back, on the person's anchors and samples, with the personal model.

    Args:
        base: what it was tuned from.
        personal: the personal generator and its anchors.
        path: the file; replaced if it exists.
        recipe: ``size_limit`` is the size aimed at, 0.5 MB by default.
        judge: looks at pictures.

    Raises:
        ExportError: beyond the tolerance, or the path cannot be written; nothing new is left behind.
    """
    start = time.monotonic()
    personal.anchors.require()
    with folder_for(path, recipe):
        data = pack_delta(base, personal.weights, int(1e6 * (recipe.size_limit or DELTA_MEGABYTES)))
        merged = Model2D(apply_delta(base, data), [personal.anchors.codes])
        case = personal.case("personal", recipe)
        runtime = f"everface {everface.__version__}, base and delta merged"
        run = merged.case("personal", recipe).reference
        parity = compare(case, runtime, run, recipe.tolerance_of("personal", case.images), judge)
        if failures := parity.failures():
            raise ExportError(
                "delta", expected="a result within the tolerance of the personal model's", found=", ".join(failures),
                remedy="the file was not kept; allow more bytes with --size-limit",
            )  # fmt: skip
        write_all({path: data})
    file = exported("delta", path, data, parity)
    count, seconds = len(personal.anchors), time.monotonic() - start
    return ExportReport("delta", "int8 factors", recipe.opset, 0, count, (file,), parity.max_error, seconds)


@dataclass(frozen=True, eq=False)
class _Factors:
    """left @ right is what changed, best term first; ``gains[r]`` is what term r is worth."""

    name: str
    left: Array
    right: Array
    gains: NDArray[np.float64]

    @property
    def bytes_a_term(self) -> int:
        return len(self.left) + len(self.right[0]) + 4


def pack_delta(base: Base[FaceGenerator], personal: StyleGAN2Weights, limit: int) -> bytes:
    """The difference of a personal generator from its base, in at most about ``limit`` bytes.

    Args:
        base: what it was tuned from.
        personal: of the same architecture.
        limit: bytes of the file.

    Returns:
        A safetensors file: ``NAME.left`` int8 [r, rows], ``NAME.right`` int8 [r, columns], ``NAME.scale`` float16
        [2, r] for matrices, ``NAME`` float16 for what is small; ``base_sha256`` in its metadata.

    Raises:
        ExportError: another architecture, or even the small arrays take more than the limit.
    """
    if personal.config != base.weights.config:
        raise ExportError("delta", expected="the base's architecture", found="another")
    arrays: dict[str, NDArray[Any]] = {}
    matrices: list[_Factors] = []
    for name, old in base.weights.arrays.items():
        change = personal.arrays[name] - old
        if not change.any():
            continue
        if change.ndim < 2 or change.size < _SMALL:
            arrays[name] = change.astype(np.float16)
        else:
            matrices.append(_decompose(name, change, float(np.linalg.norm(old))))
    room = limit - sum(2 * array.size + 100 for array in arrays.values()) - _HEADER * len(matrices) - 1024
    if room < 0:
        raise ExportError("delta", expected=f"at most {limit} bytes", found="more, for the biases alone")
    for factors, rank in zip(matrices, _ranks(matrices, room), strict=True):
        if rank:
            left, left_scale = _int8(factors.left[:, :rank].T)
            right, right_scale = _int8(factors.right[:rank])
            arrays[f"{factors.name}.left"], arrays[f"{factors.name}.right"] = left, right
            arrays[f"{factors.name}.scale"] = np.stack([left_scale, right_scale])
    return pack_arrays(arrays, {"kind": _KIND, "base_sha256": base.sha256})


def _decompose(name: str, change: Array, size: float) -> _Factors:
    u, s, v = np.linalg.svd(change.reshape(len(change), -1).astype(np.float64), full_matrices=False)
    root = np.sqrt(s)
    left, right = (u * root).astype(np.float32), (v * root[:, None]).astype(np.float32)
    return _Factors(name, left, right, np.square(s / max(size, 1e-12)))


def _ranks(matrices: list[_Factors], room: int) -> list[int]:
    """Terms to keep of each matrix: the best of all, by worth for a byte, while there is room."""
    offered = sorted(
        (
            (-gain / factors.bytes_a_term, i, term)
            for i, factors in enumerate(matrices)
            for term, gain in enumerate(factors.gains)
        )
    )
    ranks = [0] * len(matrices)
    for worth, i, term in offered:
        cost = matrices[i].bytes_a_term
        if cost > room or worth > -1e-16:
            break
        ranks[i], room = term + 1, room - cost
    return ranks


def _int8(rows: Array) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """Rows as int8 with a scale each, in float16."""
    scale = np.maximum(np.abs(rows).max(axis=1) / 127, 1e-7).astype(np.float16)
    return np.clip(np.rint(rows / scale.astype(np.float32)[:, None]), -127, 127).astype(np.int8), scale


def apply_delta(base: Base[FaceGenerator], data: bytes) -> StyleGAN2Weights:
    """The personal weights that ``pack_delta`` wrote down.

    Raises:
        CheckpointError: not a delta, one of another base, or arrays that do not fit.
    """
    arrays, metadata = read_arrays(data, "delta"), read_metadata(data, "delta")
    if metadata.get("kind") != _KIND or metadata.get("base_sha256") != base.sha256:
        found = metadata.get("base_sha256", "none")
        raise CheckpointError("delta", expected=f"one of the base {base.sha256[:16]}", found=f"{found[:16]}")
    personal = dict(base.weights.arrays)
    matrices = {name.removesuffix(".left") for name in arrays if name.endswith(".left")}
    parts = {f"{name}{end}" for name in matrices for end in (".left", ".right", ".scale")}
    for name in sorted(matrices | (arrays.keys() - parts)):
        if name not in personal:
            raise CheckpointError(f"delta: {name[:80]}", expected="an array of the base", found="none of that name")
        shape = personal[name].shape
        change = _product(name, arrays, shape) if name in matrices else arrays[name].astype(np.float32)
        if change.shape != shape or not np.isfinite(change).all():
            raise CheckpointError(f"delta: {name}", expected=f"finite {shape}", found=str(change.shape))
        personal[name] = np.asarray(personal[name] + change)  # not a scalar of a 0-dimensional one
    return StyleGAN2Weights(base.weights.config, personal)


def _product(name: str, arrays: Mapping[str, NDArray[Any]], shape: Sequence[int]) -> Array:
    try:
        left, right, scale = (arrays[f"{name}.{part}"] for part in ("left", "right", "scale"))
        rank, columns = len(left), int(np.prod(shape[1:]))
        fits = left.shape == (rank, shape[0]) and right.shape == (rank, columns) and scale.shape == (2, rank)
    except (KeyError, IndexError, TypeError) as error:
        raise CheckpointError(f"delta: {name}", expected="left, right and scale", found="less") from error
    if not fits or left.dtype != np.int8 or right.dtype != np.int8:
        raise CheckpointError(f"delta: {name}", expected="int8 factors that fit", found=str(left.shape))
    both = scale.astype(np.float32)
    product = (left.astype(np.float32) * both[0, :, None]).T @ (right.astype(np.float32) * both[1, :, None])
    return product.reshape(shape)
