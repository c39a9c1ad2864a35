"""One cell of the experiment: a person, a seed, a method and a buffer, from the t = 0 model to the last judgement."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.bench.features import IndependentDistance, missing_packages
from everface.bench.judge import embedder
from everface.bench.protocol import INDEPENDENT, METRICS, Judge, MethodResult, run_method
from everface.bench.replay_experiment.encode import Encoded, Settings, encoded_person
from everface.bench.replay_experiment.methods import BASE, Allowance, Method, allowance
from everface.bench.replay_experiment.people import Person
from everface.bench.sequence import REFERENCES, UPPER, Embed, SequenceSettings, Timestep, method_steps
from everface.engine.learn.backend import Backend, open_backend
from everface.engine.learn.mixing import codes_to_distil
from everface.engine.learn.values import LearnSettings
from everface.engine.replay.codec.latent import code_bytes


@dataclass(frozen=True, order=True)
class Cell:
    """What is measured on its own.

    Attributes:
        person: whose album.
        seed: of timeline, tuning and choices.
        method: see ``everface.bench.replay_experiment.methods``.
        buffer: see there; ``"-"`` where it makes no difference.
    """

    person: str
    seed: int
    method: str
    buffer: str

    @property
    def file(self) -> str:
        """Name of its result."""
        return f"{self.person}.{self.seed}.{self.method.replace('/', '+')}.{self.buffer.replace('=', '')}.json"


class Lab:
    """Networks and judges, loaded once a process.

    Args:
        settings: of the experiment.
        judge: a MobileFaceNet in ONNX; the packaged embedder judges where it is None.
        cache: for what methods share.
    """

    def __init__(self, settings: Settings, judge: Path | None, cache: Path) -> None:
        self.settings, self.cache, self._judge = settings, cache, judge
        self._last: tuple[tuple[str, int], Encoded] | None = None

    @cached_property
    def backend(self) -> Backend:
        """Of the settings' base and loss."""
        return open_backend(self.settings.engine, side=self.settings.perceptual_side)

    @cached_property
    def judge(self) -> tuple[str, Embed]:
        """Who judges identity, and how."""
        return embedder(self._judge, self.backend, self.settings.engine)

    @cached_property
    def distance(self) -> IndependentDistance | None:
        """Features that tuning does not use; None where the packages are missing."""
        return None if missing_packages() else IndependentDistance()

    def encoded(self, person: Person, seed: int) -> Encoded:
        """The person's timeline; the last one asked for stays in memory."""
        key = (person.name, seed)
        if self._last is None or self._last[0] != key:
            encoded = encoded_person(self.backend, person, seed, self.settings, self.judge[1], self.cache)
            self._last = (key, encoded)
        return self._last[1]


def run_cell(lab: Lab, person: Person, cell: Cell) -> dict[str, Any]:
    """Runs one method over one timeline and judges every model on every timestamp so far: all numbers, as JSON."""
    began, settings, backend = time.monotonic(), lab.settings, lab.backend
    encoded = lab.encoded(person, cell.seed)
    metrics = tuple(name for name in METRICS if name != INDEPENDENT or lab.distance is not None)
    judge = Judge(
        backend, encoded.batches, lab.judge[1], settings.evaluate, settings.samples, cell.seed, metrics, lab.distance
    )
    if cell.method == BASE:
        last, count = judge(None, len(encoded.batches)), len(encoded.batches)
        rows = {name: np.vstack([np.full((count - 1, count), np.nan), means]) for name, means in last.means.items()}
        result = MethodResult(BASE, rows, (), last, 0.0)
    else:
        steps = method_steps(cell.method, backend, encoded.first, encoded.batches, _how(lab, encoded, cell)[1])
        result = run_method(cell.method, judge, steps)
    timeline = encoded.timeline
    return {
        "cell": asdict(cell),
        "settings": settings.key(),
        "dimension": settings.dimension,
        "judge": lab.judge[0],
        "timestamps": len(timeline.batches),
        "train": len(timeline.batches[0].train),
        "test": len(timeline.batches[0].held_out),
        "photos": len(person),
        "spread": {"within": timeline.within, "between": timeline.between, "chance": timeline.chance},
        "png_bytes": encoded.png_bytes,
        "matrices": {name: _listed(matrix) for name, matrix in result.matrices.items()},
        **(_notes(lab, encoded, cell, result.steps) if result.steps else {"photo_bytes": [0], "code_bytes": [0]}),
        "processor_seconds": result.processor_seconds,
        "wall_seconds": time.monotonic() - began,
    }


def _how(lab: Lab, encoded: Encoded, cell: Cell) -> tuple[Allowance, SequenceSettings]:
    """What a cell's method may keep, and how it learns."""
    settings, method = lab.settings, Method.of(cell.method)
    buffer = "b=0" if cell.buffer == "-" else cell.buffer
    limit = allowance(method, buffer, encoded.png_bytes, lab.backend.shape.w_dim)
    if cell.method in REFERENCES:
        return limit, SequenceSettings(LearnSettings(UPPER, settings.tune, settings.invert, cell.seed), limit.keeping)
    tune = replace(settings.tune, distil_codes=limit.codes)
    learn = LearnSettings(method.policy, tune, settings.invert, cell.seed, by_loss="by-loss" in method.extras)
    return limit, SequenceSettings(learn, limit.keeping, settings.without_replay)


def _notes(lab: Lab, encoded: Encoded, cell: Cell, steps: Sequence[Timestep]) -> dict[str, list[Any]]:
    """What each timestamp came to."""
    references, width = cell.method in REFERENCES, lab.backend.shape.w_dim
    most = _how(lab, encoded, cell)[0].codes
    learned = [(step.step.after, step.step.remembered) if references else (step.step.after,) for step in steps]
    anchors = [group.styles(width) for group in encoded.batches]
    # Codes without a photo that the method keeps.
    codes = [
        len(codes_to_distil(anchors[: t + 1], most, np.random.default_rng([cell.seed, 4]))) for t in range(len(steps))
    ]
    return {
        "before": [float(step.before.mean()) for step in steps],
        "after": [float(np.concatenate(losses).mean()) for losses in learned],
        "seconds": [step.seconds for step in steps],
        "kept": [[] if references else [list(origin) for origin in step.origins] for step in steps],
        "photo_bytes": [0 if references else int(step.memory.bytes.sum()) for step in steps],
        "code_bytes": [count * code_bytes(width) for count in codes],
    }


def _listed(matrix: NDArray[np.float64]) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(f"{value:.6g}") for value in row] for row in matrix.tolist()]
