"""Proof: the exported graph against PyTorch, in the runtime that will run it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from everface.engine.errors import ExportError, MissingBackendError
from everface.engine.generators.stylegan2 import Generator
from everface.engine.latents.space import normal_z
from everface.export.recipe import ExportRecipe, Parity

__all__ = ["Case", "compare", "mapping_case", "personal_case", "synthesis_case"]

Array = NDArray[np.float32]
BATCHES = (1, 3, 8)
_MOST_ANCHORS = 64


@dataclass(frozen=True, eq=False)
class Case:
    """One graph's test: what goes in, and what should come out.

    Attributes:
        feeds: arrays [n, ...] by input name, cut into batches along n.
        fixed: arrays by input name that every batch gets whole.
        reference: PyTorch's answer to one batch of ``feeds``.
    """

    feeds: dict[str, Array]
    fixed: dict[str, Array]
    reference: Callable[[dict[str, Array]], Array]


def personal_case(generator: Generator, anchors: Array, recipe: ExportRecipe) -> Case:
    """Every anchor (of more than 64 every so many), their mean, and random weights inside and beyond the hull."""
    count = len(anchors)
    rng = np.random.default_rng(recipe.seed)
    own = np.eye(count, dtype=np.float32)[_spread(count, _MOST_ANCHORS)]
    fresh = rng.dirichlet(np.full(count, 0.5), recipe.samples)
    # P_beta reaches weights below 0: a third of the samples is pushed away from the mean.
    fresh[::3] = 1.3 * fresh[::3] - 0.3 / count
    weights = np.concatenate([own, np.full((1, count), 1 / count), fresh]).astype(np.float32)

    def reference(batch: dict[str, Array]) -> Array:
        mean = generator.mapping.w_avg
        w = torch.from_numpy(batch["weights"]) @ torch.from_numpy(anchors)
        return np.asarray(generator.synthesis(mean + recipe.psi * (w - mean)).numpy())

    return Case({"weights": weights}, {}, reference)


def _spread(count: int, most: int) -> NDArray[np.int64]:
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def synthesis_case(generator: Generator, anchors: Array, recipe: ExportRecipe) -> Case:
    """The anchors as W codes, and W+ codes whose layers come from different random Z codes."""
    config = generator.config
    own = anchors[_spread(len(anchors), 8)]
    z = normal_z(recipe.samples * config.num_ws, config.z_dim, recipe.seed)
    fresh = _map(generator, z, psi=1.0).reshape(recipe.samples, config.num_ws, config.w_dim)
    ws = np.concatenate([np.repeat(own[:, None], config.num_ws, axis=1), fresh])
    return Case({"ws": ws}, {}, lambda batch: np.asarray(generator.synthesis(torch.from_numpy(batch["ws"])).numpy()))


def mapping_case(generator: Generator, recipe: ExportRecipe) -> Case:
    """Random Z codes, under a truncation that is neither 0 nor 1."""
    psi = 0.7
    z = normal_z(max(recipe.samples, 16), generator.config.z_dim, recipe.seed).numpy()
    fixed = {"psi": np.array([psi], np.float32)}
    return Case({"z": z}, fixed, lambda batch: _map(generator, torch.from_numpy(batch["z"]), psi=psi))


@torch.no_grad()
def _map(generator: Generator, z: torch.Tensor, *, psi: float) -> Array:
    return np.asarray(generator.mapping(z, psi=psi).numpy())


@torch.no_grad()
def compare(path: Path, graph: str, case: Case, tolerance: float) -> Parity:
    """Runs a file in ONNX Runtime on the CPU, in batches of 1, 3 and 8, and PyTorch in float32 on the same inputs.

    Raises:
        ExportError: ONNX Runtime refuses the file, or the largest difference is beyond the tolerance.
        MissingBackendError: there is no working ONNX Runtime.
    """
    runtime, run = _open(path, graph)
    total, count, worst, largest = 0.0, 0, 0.0, 0.0
    sizes: dict[int, None] = {}
    for batch in _batches(case.feeds):
        size = len(next(iter(batch.values())))
        sizes[size] = None
        wanted, got = case.reference(batch).astype(np.float64), run(batch | case.fixed)
        if got.shape != wanted.shape or got.dtype != np.float32:
            raise ExportError(f"graph {graph}", expected=f"float32 {wanted.shape}", found=f"{got.dtype} {got.shape}")
        error = np.abs(got - wanted)
        # np.maximum keeps NaN, max() would drop it.
        worst, largest = float(np.maximum(worst, error.max())), max(largest, float(np.abs(wanted).max()))
        total, count = total + float(error.sum()), count + error.size
    compared = len(next(iter(case.feeds.values())))
    mean, relative = total / count, worst / largest if largest else worst
    parity = Parity(graph, runtime, compared, tuple(sizes), worst, mean, relative, tolerance)
    if not parity.passed:
        raise ExportError(
            f"graph {graph} in {runtime}", expected=f"a difference from PyTorch of at most {tolerance:g}",
            found=f"{worst:.3g}", remedy="the file was not kept; report this, or raise the tolerance",
        )  # fmt: skip
    return parity


def _batches(feeds: dict[str, Array]) -> Iterator[dict[str, Array]]:
    """Cuts the inputs into batches of 1, 3, 8, 1, ...; all inputs, each size at least once, so some come twice."""
    length = len(next(iter(feeds.values())))
    start = turn = 0
    while start < length or turn < len(BATCHES):
        picked = np.arange(start, start + BATCHES[turn % len(BATCHES)]) % length
        yield {name: values[picked] for name, values in feeds.items()}
        start, turn = start + len(picked), turn + 1


def _open(path: Path, graph: str) -> tuple[str, Callable[[dict[str, Array]], Array]]:
    try:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 3
        version = ort.__version__
    except (ImportError, AttributeError) as error:
        remedy = "pip install --force-reinstall onnxruntime; `everface doctor` says more"
        raise MissingBackendError(
            "onnxruntime", expected="a working package", found=str(error), remedy=remedy
        ) from error
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ExportError(f"graph {graph}", expected="a file that ONNX Runtime loads", found=str(error)) from error
    return f"onnxruntime {version} {session.get_providers()[0]}", lambda feeds: np.asarray(session.run(None, feeds)[0])
