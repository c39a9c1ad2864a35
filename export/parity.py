"""Proof: the exported graph against the engine, in the runtime that will run it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from everface import _native
from everface.engine.assets import asset_path
from everface.engine.errors import ExportError
from everface.engine.perception.identity_onnx import OnnxIdentity
from everface.export.recipe import Tolerance
from everface.export.report import Parity

Array = NDArray[np.float32]
Feeds = dict[str, Array]
Run = Callable[[Feeds], Array]
Judging = Callable[[Array, Array], tuple[float, float]]
"""Perceptual distance and identity drift, the largest of any pair of images [n, 3, r, r] got and wanted: ``Judge``."""
BATCHES = (1, 3, 8)
_SIDE = 128  # pixels at which the perceptual network looks


class Judge:
    """Perception as the engine has it: MobileNetV2 distance and dlib's identity.

    Args:
        crop_scale: the base's FFHQ crop scale.
    """

    def __init__(self, crop_scale: float = 0.8) -> None:
        stored = load_file(asset_path("perceptual.safetensors"))
        weights = {name: array.astype(np.float32) for name, array in stored.items()}
        self._perceptual = _native.ReconstructionLoss(weights, _SIDE, 0.0, False)
        self._identity = OnnxIdentity(crop_scale)

    def __call__(self, got: Array, wanted: Array) -> tuple[float, float]:
        """Largest MobileNetV2 distance and largest distance of descriptors; images [n, 3, r, r], clipped to [-1, 1]."""
        a, b = (np.ascontiguousarray(np.clip(images, -1, 1).transpose(0, 2, 3, 1)) for images in (got, wanted))
        rows = np.arange(len(a), dtype=np.int64)
        distances, _ = self._perceptual(a, self._perceptual.prepare(b), rows, False)
        drift = np.linalg.norm(self._identity(a) - self._identity(b), axis=1)
        return float(distances.max()), float(drift.max())


@dataclass(frozen=True, eq=False)
class Case:
    """One graph's test: what goes in, and what should come out.

    Attributes:
        graph: its name.
        feeds: arrays [n, ...] by input name, cut into batches along n.
        fixed: arrays by input name that every batch gets whole.
        reference: the engine's answer to one batch of ``feeds``.
        images: whether the answer is RGB pictures.
        batches: sizes of the batches, in turn.
        usual: what the answer has to keep where the recipe does not say; None for the usual of the precision.
    """

    graph: str
    feeds: Feeds
    fixed: Feeds
    reference: Callable[[Feeds], Array]
    images: bool
    batches: tuple[int, ...] = BATCHES
    usual: Tolerance | None = None


def compare(case: Case, runtime: str, run: Run, tolerance: Tolerance, judge: Judging) -> Parity:
    """Runs a graph and the engine in float32 on the same inputs, in batches of 1, 3 and 8.

    Returns:
        What was seen, whether or not it passes.

    Raises:
        ExportError: what the runtime gives has another shape or type.
    """
    got, wanted = [], []
    sizes: dict[int, None] = {}
    for batch in _batches(case.feeds, case.batches):
        sizes[len(next(iter(batch.values())))] = None
        expected, answer = case.reference(batch), run(batch | case.fixed)
        if answer.shape != expected.shape or answer.dtype != np.float32:
            given = f"{answer.dtype} {answer.shape}"
            raise ExportError(f"graph {case.graph}", expected=f"float32 {expected.shape}", found=given)
        got.append(answer)
        wanted.append(expected)
    a, b = np.concatenate(got), np.concatenate(wanted)
    error = np.abs(a.astype(np.float64) - b)
    worst, largest = float(error.max()), float(np.abs(b).max())
    perceptual = drift = None
    if case.images:
        # NaN is no picture; max_error tells of it.
        perceptual, drift = judge(a, b) if np.isfinite(a).all() else (float("nan"), float("nan"))
    compared = len(next(iter(case.feeds.values())))
    relative = worst / largest if largest else worst
    mean = float(error.mean())
    return Parity(
        case.graph, runtime, compared, tuple(sizes), worst, mean, relative, perceptual, drift, tolerance
    )  # fmt: skip


def _batches(feeds: Feeds, sizes: tuple[int, ...]) -> Iterator[Feeds]:
    """Cuts the inputs into batches of the sizes in turn; all inputs, each size at least once, so some come twice."""
    length = len(next(iter(feeds.values())))
    start = turn = 0
    while start < length or turn < len(sizes):
        picked = np.arange(start, start + sizes[turn % len(sizes)]) % length
        yield {name: values[picked] for name, values in feeds.items()}
        start, turn = start + len(picked), turn + 1
