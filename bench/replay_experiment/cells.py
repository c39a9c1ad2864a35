"""One cell of the experiment: a person, a seed, a method and a buffer, from the t = 0 model to the last judgement."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.bench.judge import IdentityJudge
from everface.bench.replay_experiment.encode import Encoded, Settings, encoded_person, png_bytes
from everface.bench.replay_experiment.features import INDEPENDENT, IndependentDistance, missing_packages
from everface.bench.replay_experiment.methods import CUMULATIVE, REFERENCES, Allowance, Method, allowance
from everface.bench.replay_experiment.people import Person
from everface.bench.sequence import (
    Embed,
    SequenceSettings,
    Timestep,
    joint_step,
    reconstruct,
    samples_of,
    timesteps,
)
from everface.engine.config import EngineConfig
from everface.engine.learn.backend import Backend, open_backend
from everface.engine.learn.mixing import codes_to_distil
from everface.engine.learn.values import LearnSettings
from everface.engine.metrics.identity import best_cosines, mean_best_cosine
from everface.engine.metrics.reconstruction import psnr
from everface.engine.pictures import to_uint8
from everface.engine.replay.codec.latent import code_bytes

LOSS = "MobileNetV2 distance + MSE"
LEARNED = "MobileNetV2 distance + MSE of learned photos at their anchors"
PSNR, REC_IDENTITY, IDENTITY = "PSNR", "ID of reconstructions", "ID of samples"
METRICS = {INDEPENDENT: False, LOSS: False, PSNR: True, REC_IDENTITY: True, IDENTITY: True, LEARNED: False}
"""Metric to whether higher is better."""

Matrix = NDArray[np.float64]


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


@dataclass(frozen=True, eq=False)
class CellResult:
    """What was measured.

    Attributes:
        numbers: all numbers, as they go to JSON.
        photos: held-out photos of the first timestamp.
        pictures: the same, reconstructed by the last model.
    """

    numbers: dict[str, Any]
    photos: NDArray[np.uint8]
    pictures: NDArray[np.uint8]


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
        return open_backend(EngineConfig(base=self.settings.base), side=self.settings.perceptual_side)

    @cached_property
    def embed(self) -> Embed:
        """The judge of identity."""
        return self.backend.embed if self._judge is None else IdentityJudge(self._judge).embed

    @property
    def judge_name(self) -> str:
        """Who judges identity."""
        return "dlib" if self._judge is None else "MobileFaceNet"

    @cached_property
    def distance(self) -> IndependentDistance | None:
        """Features that tuning does not use; None where the packages are missing."""
        return None if missing_packages() else IndependentDistance()

    def encoded(self, person: Person, seed: int) -> Encoded:
        """The person's timeline; the last one asked for stays in memory."""
        key = (person.name, seed)
        if self._last is None or self._last[0] != key:
            encoded = encoded_person(self.backend, person, seed, self.settings, self.embed, self.cache)
            self._last = (key, encoded)
        return self._last[1]


def run_cell(lab: Lab, person: Person, cell: Cell) -> CellResult:
    """Runs one method over one timeline and judges every model on every timestamp so far."""
    began = time.monotonic()
    run = _Run(lab, lab.encoded(person, cell.seed), cell)
    for t, timestep in run.joint() if cell.method in REFERENCES else run.sequence():
        run.note(t, timestep)
        run.judge(timestep.step.model, t)
    return run.result(began)


@dataclass(eq=False)
class _Run:
    lab: Lab
    encoded: Encoded
    cell: Cell

    def __post_init__(self) -> None:
        count = len(self.encoded.batches)
        names = [name for name in METRICS if name != INDEPENDENT or self.lab.distance is not None]
        self.matrices: dict[str, Matrix] = {name: np.full((count, count), np.nan) for name in names}
        notes = ("before", "after", "seconds", "kept", "photo_bytes", "code_bytes")
        self.notes: dict[str, list[Any]] = {name: [] for name in notes}
        self.pictures = np.zeros(0, np.uint8)
        self.method = Method.of(self.cell.method)
        self.limit = self._limit()

    def _limit(self) -> Allowance:
        train = np.concatenate([encoded.batch.train for encoded in self.encoded.batches])
        buffer = "b=0" if self.cell.buffer == "-" else self.cell.buffer
        return allowance(self.method, buffer, png_bytes(train), self.lab.backend.shape.w_dim)

    def sequence(self) -> Iterator[tuple[int, Timestep]]:
        """The timestamps one after the other."""
        settings = self.lab.settings
        tune = replace(settings.tune, distil_codes=self.limit.distil_codes(self.method))
        learn = LearnSettings(
            self.method.policy, tune, settings.invert, self.cell.seed, by_loss="by-loss" in self.method.extras
        )
        method = SequenceSettings(learn, self.limit.keeping, settings.without_replay)
        yield from enumerate(timesteps(self.lab.backend, self.encoded.first, self.encoded.batches, method))

    def joint(self) -> Iterator[tuple[int, Timestep]]:
        """The base tuned once on all photos until a timestamp: of each for ``cumulative``, of the last for ``upper``.

        The first timestamp's is the model that all methods start from.
        """
        batches, settings = self.encoded.batches, self.lab.settings
        learn = LearnSettings("upper", settings.tune, settings.invert, self.cell.seed)
        last = len(batches) - 1
        if self.cell.method == CUMULATIVE:
            method = SequenceSettings(learn, self.limit.keeping)
            yield 0, next(timesteps(self.lab.backend, self.encoded.first, batches[:1], method))
        for t in range(1 if self.cell.method == CUMULATIVE else last, last + 1):
            yield t, joint_step(self.lab.backend, batches[: t + 1], learn)

    def note(self, t: int, timestep: Timestep) -> None:
        """What a timestamp came to."""
        backend = self.lab.backend
        learned = [timestep.step.after]
        references = self.cell.method in REFERENCES
        if references:
            learned.append(timestep.step.remembered)
        codes = self._stored_codes(t + 1) * code_bytes(backend.shape.w_dim)
        values = {
            "before": float(timestep.before.mean()), "after": float(np.concatenate(learned).mean()),
            "seconds": timestep.seconds, "kept": [] if references else [list(group) for group in timestep.origins],
            "photo_bytes": 0 if references else int(timestep.memory.bytes.sum()), "code_bytes": codes,
        }  # fmt: skip
        for name, value in values.items():
            self.notes[name].append(value)

    def _stored_codes(self, timestamps: int) -> int:
        """Codes without a photo that the method keeps."""
        most = self.limit.distil_codes(self.method)
        anchors = [group.styles(self.lab.backend.shape.w_dim) for group in self.encoded.batches[:timestamps]]
        return len(codes_to_distil(anchors, most, np.random.default_rng([self.cell.seed, 4])))

    def judge(self, content: bytes, t: int) -> None:
        """Fills row t of every matrix."""
        lab, sets = self.lab, self.encoded.batches[: t + 1]
        model = lab.backend.model(content)
        reconstructed = reconstruct(lab.backend, model, sets, lab.settings.evaluate)
        photos = np.concatenate([encoded.batch.held_out for encoded in sets])
        pictures = to_uint8(model.render(reconstructed.codes))
        per_photo = {LOSS: reconstructed.losses.astype(np.float64), PSNR: psnr(pictures, photos)}
        if lab.distance is not None:
            per_photo[INDEPENDENT] = lab.distance(pictures, photos)
        truth, embedded = np.concatenate([encoded.references for encoded in sets]), lab.embed(pictures)
        per_photo[REC_IDENTITY] = np.array(
            [best_cosines(embedded[i : i + 1], truth[i : i + 1])[0] for i in range(len(embedded))]
        )
        cuts = np.cumsum([len(encoded.batch.held_out) for encoded in sets])[:-1]
        for name, values in per_photo.items():
            self.matrices[name][t, : len(sets)] = [float(part.mean()) for part in np.split(values, cuts)]
        for k, encoded in enumerate(sets):
            self.matrices[LEARNED][t, k] = float(model.losses(encoded.train.codes, encoded.train_targets).mean())
            samples = samples_of(model, encoded, lab.settings.samples, self.cell.seed, k)
            self.matrices[IDENTITY][t, k] = mean_best_cosine(lab.embed(samples), encoded.references)
        self.pictures = pictures[: len(sets[0].batch.held_out)]

    def result(self, began: float) -> CellResult:
        """All numbers."""
        timeline = self.encoded.timeline
        numbers: dict[str, Any] = {
            "cell": asdict(self.cell),
            "settings": self.lab.settings.key(),
            "judge": self.lab.judge_name,
            "timestamps": len(timeline.batches),
            "train": len(timeline.batches[0].train),
            "test": len(timeline.batches[0].held_out),
            "photos": len(self.encoded.person),
            "spread": {"within": timeline.within, "between": timeline.between, "chance": timeline.chance},
            "png_bytes": png_bytes(np.concatenate([batch.train for batch in timeline.batches])),
            "matrices": {name: _listed(matrix) for name, matrix in self.matrices.items()},
            **self.notes,
            "wall_seconds": time.monotonic() - began,
        }
        return CellResult(numbers, timeline.batches[0].held_out, self.pictures)


def _listed(matrix: Matrix) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(f"{value:.6g}") for value in row] for row in matrix.tolist()]
