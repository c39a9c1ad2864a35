"""Proof: the exported graph against PyTorch, in the runtime that will run it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from everface.engine.errors import ExportError
from everface.engine.generators.stylegan2 import Generator
from everface.engine.latents.space import normal_z
from everface.export.recipe import ExportRecipe, Tolerance
from everface.export.report import Parity

__all__ = ["Case", "Judge", "Judging", "Run", "calibration_feeds", "case_of", "compare"]

Array = NDArray[np.float32]
Feeds = dict[str, Array]
Run = Callable[[Feeds], Array]
BATCHES = (1, 3, 8)
_MOST_ANCHORS = 32


class Judging(Protocol):
    """Looks at pictures: see :class:`Judge`."""

    def __call__(self, got: Array, wanted: Array) -> tuple[float, float]:
        """Perceptual distance and identity drift, the largest of any pair of images [n, 3, r, r]."""


class Judge:
    """Perception as the engine has it: MobileNetV2 distance and dlib's identity.

    Args:
        crop_scale: the base's FFHQ crop scale.
    """

    def __init__(self, crop_scale: float = 0.8) -> None:
        from everface.engine.perception.identity import IdentityEmbedder
        from everface.engine.perception.perceptual import PerceptualDistance

        self._perceptual, self._identity = PerceptualDistance.load(), IdentityEmbedder.load(crop_scale)

    @torch.no_grad()
    def __call__(self, got: Array, wanted: Array) -> tuple[float, float]:
        """Largest MobileNetV2 distance and largest distance of descriptors; images [n, 3, r, r], clipped to [-1, 1]."""
        a, b = (torch.from_numpy(np.clip(one, -1, 1)) for one in (got, wanted))
        drift = (self._identity(a) - self._identity(b)).norm(dim=1)
        return float(self._perceptual(a, b).max()), float(drift.max())


@dataclass(frozen=True, eq=False)
class Case:
    """One graph's test: what goes in, and what should come out.

    Attributes:
        graph: its name.
        feeds: arrays [n, ...] by input name, cut into batches along n.
        fixed: arrays by input name that every batch gets whole.
        reference: PyTorch's answer to one batch of ``feeds``.
        images: whether the answer is RGB pictures.
    """

    graph: str
    feeds: Feeds
    fixed: Feeds
    reference: Callable[[Feeds], Array]
    images: bool


def case_of(graph: str, generator: Generator, anchors: Array, recipe: ExportRecipe) -> Case:
    """The test of one graph: every anchor, and fresh samples."""
    if graph == "mapping":
        return _mapping_case(generator, recipe)
    return (_personal_case if graph == "personal" else _synthesis_case)(generator, anchors, recipe)


def calibration_feeds(graph: str, generator: Generator, anchors: Array, recipe: ExportRecipe) -> Feeds:
    """Inputs [n, ...] that show what activations a graph sees: anchors and samples around them, not those of the test.

    Without anchors, random W codes under a truncation of 0.7.
    """
    count, rng = len(anchors), np.random.default_rng([recipe.seed, 1])
    if graph == "personal":
        own = np.eye(count, dtype=np.float32)[_spread(count, 32)]
        return {"weights": np.concatenate([own, _weights(count, 16, rng)])}
    w = anchors[_spread(count, 16)]
    random = _map(generator, normal_z(16, generator.config.z_dim, recipe.seed + 1), psi=0.7)
    ws = np.repeat(np.concatenate([w, random])[:, None], generator.config.num_ws, axis=1)
    return {"ws": ws}


def _personal_case(generator: Generator, anchors: Array, recipe: ExportRecipe) -> Case:
    """Every anchor (of more than 32 every so many), their mean, and random weights inside and beyond the hull."""
    count = len(anchors)
    own = np.eye(count, dtype=np.float32)[_spread(count, _MOST_ANCHORS)]
    fresh = _weights(count, recipe.samples, np.random.default_rng(recipe.seed))
    weights = np.concatenate([own, np.full((1, count), 1 / count, np.float32), fresh])

    def reference(batch: Feeds) -> Array:
        mean = generator.mapping.w_avg
        w = torch.from_numpy(batch["weights"]) @ torch.from_numpy(anchors)
        return np.asarray(generator.synthesis(mean + recipe.psi * (w - mean)).numpy())

    return Case("personal", {"weights": weights}, {}, reference, generator.config.img_channels == 3)


def _weights(count: int, n: int, rng: np.random.Generator) -> Array:
    fresh = rng.dirichlet(np.full(count, 0.5), n)
    # P_beta reaches weights below 0: a third of the samples is pushed away from the mean.
    fresh[::3] = 1.3 * fresh[::3] - 0.3 / count
    return fresh.astype(np.float32)


def _spread(count: int, most: int) -> NDArray[np.int64]:
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def _synthesis_case(generator: Generator, anchors: Array, recipe: ExportRecipe) -> Case:
    """The anchors as W codes, and W+ codes whose layers come from different random Z codes."""
    config = generator.config
    own = anchors[_spread(len(anchors), 8)]
    z = normal_z(recipe.samples * config.num_ws, config.z_dim, recipe.seed)
    fresh = _map(generator, z, psi=1.0).reshape(recipe.samples, config.num_ws, config.w_dim)
    ws = np.concatenate([np.repeat(own[:, None], config.num_ws, axis=1), fresh])

    def reference(batch: Feeds) -> Array:
        return np.asarray(generator.synthesis(torch.from_numpy(batch["ws"])).numpy())

    return Case("synthesis", {"ws": ws}, {}, reference, config.img_channels == 3)


def _mapping_case(generator: Generator, recipe: ExportRecipe) -> Case:
    """Random Z codes, under a truncation that is neither 0 nor 1."""
    psi = 0.7
    z = normal_z(max(recipe.samples, 16), generator.config.z_dim, recipe.seed).numpy()
    fixed = {"psi": np.array([psi], np.float32)}
    return Case("mapping", {"z": z}, fixed, lambda one: _map(generator, torch.from_numpy(one["z"]), psi=psi), False)


@torch.no_grad()
def _map(generator: Generator, z: torch.Tensor, *, psi: float) -> Array:
    return np.asarray(generator.mapping(z, psi=psi).numpy())


@torch.no_grad()
def compare(case: Case, runtime: str, run: Run, tolerance: Tolerance, judge: Judging) -> Parity:
    """Runs a graph and PyTorch in float32 on the same inputs, in batches of 1, 3 and 8.

    Returns:
        What was seen, whether or not it passes.

    Raises:
        ExportError: what the runtime gives has another shape or type.
    """
    got, wanted = [], []
    sizes: dict[int, None] = {}
    for batch in _batches(case.feeds):
        sizes[len(next(iter(batch.values())))] = None
        expected, found = case.reference(batch), run(batch | case.fixed)
        if found.shape != expected.shape or found.dtype != np.float32:
            told = f"{found.dtype} {found.shape}"
            raise ExportError(f"graph {case.graph}", expected=f"float32 {expected.shape}", found=told)
        got.append(found)
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


def _batches(feeds: Feeds) -> Iterator[Feeds]:
    """Cuts the inputs into batches of 1, 3, 8, 1, ...; all inputs, each size at least once, so some come twice."""
    length = len(next(iter(feeds.values())))
    start = turn = 0
    while start < length or turn < len(BATCHES):
        picked = np.arange(start, start + BATCHES[turn % len(BATCHES)]) % length
        yield {name: values[picked] for name, values in feeds.items()}
        start, turn = start + len(picked), turn + 1
