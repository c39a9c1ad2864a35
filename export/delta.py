"""A personal model as a small difference from its base: the base's hash, and low-rank factors in int8.

Each changed matrix is written as a truncated singular value decomposition (Eckart and Young, 1936) of what tuning
changed; the bytes go where a singular value, relative to the base's matrix, buys the most. A model tuned in full is
only approximated, with an error that is measured; one whose changes have a low rank is kept whole.
"""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from everface.engine.errors import CheckpointError, ExportError
from everface.engine.generators.bases import Base
from everface.engine.generators.stylegan2 import Generator
from everface.engine.generators.tensors import pack_tensors
from everface.export.onnx import check_weights, joined_anchors
from everface.export.parity import Feeds, Judging, case_of, compare
from everface.export.recipe import DELTA_MEGABYTES, ExportRecipe
from everface.export.report import ExportedFile, ExportReport
from everface.export.stages import staging

__all__ = ["apply_delta", "export_delta", "pack_delta"]

_SMALL = 4096  # numbers; below, a tensor is written as it is, in half precision
_HEADER = 220  # bytes of the file's header a matrix: three names, shapes and offsets, about
_KIND = "everface-delta"


def export_delta(
    base: Base[Generator], personal: Generator, anchors: Sequence[NDArray[np.float32]], path: Path,
    recipe: ExportRecipe, judge: Judging,
) -> ExportReport:  # fmt: skip
    """Writes a delta and compares what it gives back, on the person's anchors and samples, with the personal model.

    Args:
        base: what it was tuned from.
        personal: the personal generator.
        anchors: W codes [a_i, w_dim] of the person's photos, an array a timestamp.
        path: the file; replaced if it exists.
        recipe: ``size_limit`` is the size aimed at, 0.5 MB by default.
        judge: looks at pictures.

    Raises:
        ExportError: beyond the tolerance, or the path cannot be written; nothing new is left behind.
    """
    start = time.monotonic()
    check_weights(personal)
    codes = joined_anchors(anchors, personal.config, needed=True)
    with staging(path, recipe) as (staged, _):
        data = pack_delta(base, personal, int(1e6 * (recipe.size_limit or DELTA_MEGABYTES)))
        merged = apply_delta(base, data)

        def run(feeds: Feeds) -> NDArray[np.float32]:
            w = torch.from_numpy(feeds["weights"]) @ torch.from_numpy(codes)
            mean = merged.mapping.w_avg
            return np.asarray(merged.synthesis(mean + recipe.psi * (w - mean)).numpy())

        case = case_of("personal", personal, codes, recipe)
        runtime = f"PyTorch {torch.__version__}, base and delta merged"
        parity = compare(case, runtime, run, recipe.tolerance_of("personal", case.images), judge)
        if failures := parity.failures():
            raise ExportError(
                "delta", expected="a result within the tolerance of the personal model's", found=", ".join(failures),
                remedy="the file was not kept; allow more bytes with --size-limit",
            )  # fmt: skip
        staged.write(path, data)
        staged.commit()
    file = ExportedFile("delta", path, len(data), hashlib.sha256(data).hexdigest(), parity)
    seconds = time.monotonic() - start
    return ExportReport("delta", "int8 factors", recipe.opset, 0, len(codes), (file,), parity.max_error, seconds)


@dataclass(frozen=True, eq=False)
class _Factors:
    """left @ right is what changed, best term first; ``gains[r]`` is what term r is worth."""

    name: str
    left: Tensor
    right: Tensor
    gains: NDArray[np.float64]

    @property
    def bytes_a_term(self) -> int:
        return self.left.shape[0] + self.right.shape[1] + 4


def pack_delta(base: Base[Generator], personal: Generator, limit: int) -> bytes:
    """The difference of a personal generator from its base, in at most about ``limit`` bytes.

    Args:
        base: what it was tuned from.
        personal: of the same architecture.
        limit: bytes of the file.

    Returns:
        A safetensors file: ``NAME.left`` int8 [r, rows], ``NAME.right`` int8 [r, columns], ``NAME.scale`` float16
        [2, r] for matrices, ``NAME`` float16 for what is small; ``base_sha256`` in its metadata.

    Raises:
        ExportError: another architecture, or even the small tensors take more than the limit.
    """
    if personal.config != base.generator.config:
        raise ExportError("delta", expected="the base's architecture", found="another")
    before, after = base.generator.state_dict(), personal.state_dict()
    tensors: dict[str, Tensor] = {}
    matrices: list[_Factors] = []
    for name, old in before.items():
        change = after[name] - old
        if not change.any():
            continue
        if change.ndim < 2 or change.numel() < _SMALL:
            tensors[name] = change.half()
        else:
            matrices.append(_decompose(name, change, float(old.norm())))
    room = limit - sum(2 * one.numel() + 100 for one in tensors.values()) - _HEADER * len(matrices) - 1024
    if room < 0:
        raise ExportError("delta", expected=f"at most {limit} bytes", found="more, for the biases alone")
    for one, rank in zip(matrices, _ranks(matrices, room), strict=True):
        if rank:
            left, left_scale = _int8(one.left[:, :rank].t())
            right, right_scale = _int8(one.right[:rank])
            tensors[f"{one.name}.left"], tensors[f"{one.name}.right"] = left, right
            tensors[f"{one.name}.scale"] = torch.stack([left_scale, right_scale])
    return pack_tensors(tensors, {"kind": _KIND, "base_sha256": base.sha256})


def _decompose(name: str, change: Tensor, size: float) -> _Factors:
    u, s, v = torch.linalg.svd(change.reshape(len(change), -1).double(), full_matrices=False)
    root = s.sqrt()
    gains = np.square(s.numpy() / max(size, 1e-12))
    return _Factors(name, (u * root).float(), (v * root[:, None]).float(), gains)


def _ranks(matrices: list[_Factors], room: int) -> list[int]:
    """Terms to keep of each matrix: the best of all, by worth for a byte, while there is room."""
    offered = sorted(
        ((-gain / one.bytes_a_term, i, term) for i, one in enumerate(matrices) for term, gain in enumerate(one.gains))
    )
    ranks = [0] * len(matrices)
    for worth, i, term in offered:
        cost = matrices[i].bytes_a_term
        if cost > room or worth > -1e-16:
            break
        ranks[i], room = term + 1, room - cost
    return ranks


def _int8(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows as int8 with a scale each, in float16."""
    scale = (rows.abs().amax(dim=1) / 127).clamp_min(1e-7).half()
    return (rows / scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8), scale


def apply_delta(base: Base[Generator], data: bytes) -> Generator:
    """The personal generator that :func:`pack_delta` wrote down.

    Raises:
        CheckpointError: not a delta, one of another base, or tensors that do not fit.
    """
    try:
        tensors, told = load(data), _metadata(data)
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise CheckpointError("delta", expected="a safetensors file", found=str(error)[:200]) from error
    if told.get("kind") != _KIND or told.get("base_sha256") != base.sha256:
        found = told.get("base_sha256", "none")
        raise CheckpointError("delta", expected=f"one of the base {base.sha256[:16]}", found=f"{found[:16]}")
    generator = copy.deepcopy(base.generator)
    state = generator.state_dict()
    matrices = {name.removesuffix(".left") for name in tensors if name.endswith(".left")}
    parts = {f"{name}{end}" for name in matrices for end in (".left", ".right", ".scale")}
    for name in sorted(matrices | (tensors.keys() - parts)):
        if name not in state:
            raise CheckpointError(f"delta: {name[:80]}", expected="a tensor of the base", found="none of that name")
        change = _product(name, tensors, state[name].shape) if name in matrices else tensors[name].float()
        if change.shape != state[name].shape or not torch.isfinite(change).all():
            raise CheckpointError(
                f"delta: {name}", expected=f"finite {tuple(state[name].shape)}", found=str(tuple(change.shape))
            )
        state[name] += change
    return generator


def _product(name: str, tensors: dict[str, Tensor], shape: torch.Size) -> Tensor:
    try:
        left, right, scale = (tensors[f"{name}.{one}"] for one in ("left", "right", "scale"))
        rank = len(left)
        fits = left.shape == (rank, shape[0]) and right.shape == (rank, shape[1:].numel()) and scale.shape == (2, rank)
    except (KeyError, IndexError) as error:
        raise CheckpointError(f"delta: {name}", expected="left, right and scale", found="less") from error
    if not fits or left.dtype != torch.int8 or right.dtype != torch.int8:
        raise CheckpointError(f"delta: {name}", expected="int8 factors that fit", found=str(tuple(left.shape)))
    both = scale.float()
    return ((left.float() * both[0, :, None]).t() @ (right.float() * both[1, :, None])).reshape(shape)


def _metadata(data: bytes) -> dict[str, str]:
    size = int.from_bytes(data[:8], "little")
    told = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    return {str(key): str(value) for key, value in told.items()}
