"""One cell of the experiment: a person, a seed, a method and a buffer, from the t = 0 model to the last judgement."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from everface.bench.buffer import Buffer
from everface.bench.judge import IdentityJudge
from everface.bench.protocol import Embed, ProtocolConfig, samples_of
from everface.bench.replay_experiment.encode import Encoded, Settings, encoded_person, loss_at, png_bytes
from everface.bench.replay_experiment.features import INDEPENDENT, IndependentDistance, missing_packages
from everface.bench.replay_experiment.methods import CUMULATIVE, REFERENCES, Allowance, Method, allowance
from everface.bench.replay_experiment.people import Person
from everface.engine.config import EngineConfig
from everface.engine.generators.stylegan2 import Generator, SynthesisNetwork
from everface.engine.latents.invert import invert, reconstruction_losses
from everface.engine.latents.sample import sample_p0
from everface.engine.metrics.identity import best_cosines, mean_best_cosine
from everface.engine.metrics.reconstruction import psnr
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.replay.codec.latent import code_bytes
from everface.engine.session.kit import Kit, to_images
from everface.engine.tune.distil import distilled, evenly, joined, replay_of
from everface.engine.tune.loop import TuneRun, TuningSet, tune

__all__ = ["IDENTITY", "LEARNED", "LOSS", "METRICS", "PSNR", "REC_IDENTITY", "Cell", "CellResult", "Lab", "run_cell"]

LOSS = "MobileNetV2 distance + MSE"
LEARNED = "MobileNetV2 distance + MSE of learned photos at their anchors"
PSNR, REC_IDENTITY, IDENTITY = "PSNR", "ID of reconstructions", "ID of samples"
METRICS = {INDEPENDENT: False, LOSS: False, PSNR: True, REC_IDENTITY: True, IDENTITY: True, LEARNED: False}
"""Metric to whether higher is better."""
_EMA = 0.7  # share of the tuned weights

Matrix = NDArray[np.float64]


@dataclass(frozen=True, order=True)
class Cell:
    """What is measured on its own.

    Attributes:
        person: whose album.
        seed: of timeline, tuning and choices.
        method: see :mod:`everface.bench.replay_experiment.methods`.
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
        told: all numbers, as they go to JSON.
        photos: held-out photos of the first timestamp.
        pictures: the same, reconstructed by the last model.
    """

    told: dict[str, Any]
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
    def kit(self) -> Kit:
        """The engine's networks."""
        return Kit(EngineConfig(base=self.settings.base))

    @cached_property
    def loss(self) -> ReconstructionLoss:
        """Of inversion, tuning and the evaluation's search."""
        return loss_at(self.settings.perceptual_side)

    @cached_property
    def embed(self) -> Embed:
        """The judge of identity."""
        return self.kit.embed if self._judge is None else IdentityJudge(self._judge).embed

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
            found = encoded_person(self.kit, self.loss, person, seed, self.settings, self.embed, self.cache)
            self._last = (key, found)
        return self._last[1]


def run_cell(lab: Lab, person: Person, cell: Cell) -> CellResult:
    """Runs one method over one timeline and judges every model on every timestamp so far."""
    began = time.monotonic()
    encoded = lab.encoded(person, cell.seed)
    if cell.method in REFERENCES:
        count = len(encoded.batches)
        timestamps = range(count) if cell.method == CUMULATIVE else range(count - 1, count)
        return _Run(lab, encoded, cell, Method.of(cell.method), None).joint(timestamps, began)
    method = Method.of(cell.method)
    train = np.concatenate([one.batch.train for one in encoded.batches])
    buffer = "b=0" if cell.buffer == "-" else cell.buffer
    limit = allowance(method, buffer, png_bytes(train), encoded.batches[0].train.codes.shape[1])
    return _Run(lab, encoded, cell, method, limit).sequence(began)


@dataclass(eq=False)
class _Run:
    lab: Lab
    encoded: Encoded
    cell: Cell
    method: Method
    limit: Allowance | None

    def __post_init__(self) -> None:
        count = len(self.encoded.batches)
        names = [one for one in METRICS if one != INDEPENDENT or self.lab.distance is not None]
        self.matrices: dict[str, Matrix] = {name: np.full((count, count), np.nan) for name in names}
        self.notes: dict[str, list[Any]] = {name: [] for name in ("before", "after", "seconds", "kept", "photo_bytes")}
        self.notes["code_bytes"] = []
        self.pictures = np.zeros(0, np.uint8)

    def sequence(self, began: float) -> CellResult:
        """The timestamps one after the other."""
        if self.limit is None:
            raise ValueError("no allowance")
        lab, batches, seed = self.lab, self.encoded.batches, self.cell.seed
        model = copy.deepcopy(self.encoded.first)
        buffer = Buffer(self.method.policy, self.limit.keeping, seed)
        losses = partial(_losses, model, lab.loss)
        for t, one in enumerate(batches):
            start = time.monotonic()
            before = one.train_losses if t == 0 else losses(one.train)
            codes = self._codes(t)
            if t:
                self._tune(model, t, buffer, codes)
            after = losses(one.train)
            buffer.measure(losses, lab.loss)
            buffer.take(t, one.batch.train, one.train.codes.numpy(), one.spread, after.numpy())
            self._note(before, after, time.monotonic() - start, buffer)
            self._judge(model, t, range(t + 1))
        return self._result(began)

    def _tune(self, model: Generator, t: int, buffer: Buffer, codes: NDArray[np.float32]) -> None:
        lab, config, extras = self.lab, self.lab.settings.tune, self.method.extras
        photos = buffer.replay(lab.loss)
        if photos is not None and "by-loss" in extras:
            photos = TuningSet(photos.codes, photos.targets, buffer.losses())
        replay = replay_of(photos, distilled(model, lab.loss, codes))
        previous = {name: value.clone() for name, value in model.synthesis.state_dict().items()}
        if replay is None:
            config = lab.settings.without_replay
        tune(model, lab.loss, self.encoded.batches[t].train, replay, config, TuneRun(seed=self.cell.seed + t))
        if "ema" in extras:
            _average(model.synthesis, previous, _EMA)

    def _codes(self, t: int) -> NDArray[np.float32]:
        """Codes of earlier timestamps that the method rehearses at t; those dropped once never come back."""
        anchors = [one.train.codes.numpy() for one in self.encoded.batches[:t]]
        limit = self.limit
        if not self.method.distils or not t or limit is None:
            return np.zeros((0, self.encoded.batches[0].train.codes.shape[1]), np.float32)
        codes = evenly(anchors, limit.codes, np.random.default_rng([self.cell.seed, 4]))
        if "distil-hull" not in self.method.extras:
            return codes
        rng = np.random.default_rng([self.cell.seed, t, 5])
        return np.concatenate([codes, *(sample_p0(one, len(one), rng) for one in anchors)])

    def joint(self, timestamps: Iterable[int], began: float) -> CellResult:
        """The base tuned once on all photos until a timestamp, for each of these."""
        for t in timestamps:
            so_far, start = self.encoded.batches[: t + 1], time.monotonic()
            photos = joined(*(one.train for one in so_far))
            model = self._jointly_tuned(photos, t)
            before = torch.cat([one.train_losses for one in so_far])
            self._note(before, _losses(model, self.lab.loss, photos), time.monotonic() - start, None)
            self._judge(model, t, range(t + 1))
        return self._result(began)

    def _jointly_tuned(self, photos: TuningSet, t: int) -> Generator:
        """With as many updates as timestamps 0 to t have together; at 0 the model that all methods start from."""
        if t == 0:
            return self.encoded.first
        config = self.lab.settings.tune
        both = config.new_per_step + config.replay_per_step
        longer = replace(config, new_per_step=both, replay_per_step=0, max_steps=(t + 1) * config.max_steps)
        model = self.lab.kit.fresh_generator()
        tune(model, self.lab.loss, photos, None, longer, TuneRun(seed=self.cell.seed))
        return model

    def _note(self, before: Tensor, after: Tensor, seconds: float, buffer: Buffer | None) -> None:
        kept = [] if buffer is None else [list(one) for one in buffer.origins()]
        t = len(self.notes["before"])
        codes = 0 if self.limit is None or not self.method.distils else len(self._stored_codes(t + 1))
        width = code_bytes(self.encoded.batches[0].train.codes.shape[1])
        photos = 0 if buffer is None else sum(buffer.sizes())
        told = {"before": float(before.mean()), "after": float(after.mean()), "seconds": seconds, "kept": kept}
        for name, value in {**told, "photo_bytes": photos, "code_bytes": codes * width}.items():
            self.notes[name].append(value)

    def _stored_codes(self, t: int) -> NDArray[np.float32]:
        anchors = [one.train.codes.numpy() for one in self.encoded.batches[:t]]
        limit = None if self.limit is None else self.limit.codes
        return evenly(anchors, limit, np.random.default_rng([self.cell.seed, 4]))

    def _judge(self, model: Generator, t: int, timestamps: Sequence[int]) -> None:
        """Fills row t of every matrix."""
        lab, sets = self.lab, [self.encoded.batches[k] for k in timestamps]
        held_out = joined(*(one.held_out for one in sets))
        start = held_out.codes[:, None].expand(-1, model.config.num_ws, -1)
        found = invert(model, lab.loss, held_out.targets, start, lab.settings.evaluate)
        pictures, photos = _shown(model, found.codes), np.concatenate([one.batch.held_out for one in sets])
        per_photo = {LOSS: found.losses.double().numpy(), PSNR: psnr(pictures, photos)}
        if lab.distance is not None:
            per_photo[INDEPENDENT] = lab.distance(pictures, photos)
        truth, seen = np.concatenate([one.references for one in sets]), lab.embed(pictures)
        per_photo[REC_IDENTITY] = np.array(
            [best_cosines(seen[i : i + 1], truth[i : i + 1])[0] for i in range(len(seen))]
        )
        cuts = np.cumsum([len(one.held_out) for one in sets])[:-1]
        for name, values in per_photo.items():
            self.matrices[name][t, : len(sets)] = [float(part.mean()) for part in np.split(values, cuts)]
        config = ProtocolConfig(samples=lab.settings.samples, seed=self.cell.seed)
        for k, one in enumerate(sets):
            self.matrices[LEARNED][t, k] = float(_losses(model, lab.loss, one.train).mean())
            samples = samples_of(model, one, config, k)
            self.matrices[IDENTITY][t, k] = mean_best_cosine(lab.embed(samples), one.references)
        self.pictures = pictures[: len(sets[0].held_out)]

    def _result(self, began: float) -> CellResult:
        timeline = self.encoded.timeline
        told: dict[str, Any] = {
            "cell": asdict(self.cell),
            "settings": self.lab.settings.key(),
            "judge": self.lab.judge_name,
            "timestamps": len(timeline.batches),
            "train": len(timeline.batches[0].train),
            "test": len(timeline.batches[0].held_out),
            "photos": len(self.encoded.person),
            "spread": {"within": timeline.within, "between": timeline.between, "chance": timeline.chance},
            "png_bytes": png_bytes(np.concatenate([one.train for one in timeline.batches])),
            "matrices": {name: _listed(matrix) for name, matrix in self.matrices.items()},
            **self.notes,
            "wall_seconds": time.monotonic() - began,
        }
        return CellResult(told, timeline.batches[0].held_out, self.pictures)


def _listed(matrix: Matrix) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(f"{value:.6g}") for value in row] for row in matrix.tolist()]


@torch.no_grad()
def _shown(model: Generator, codes: Tensor) -> NDArray[np.uint8]:
    return np.concatenate([to_images(model.synthesis(codes[i : i + 16])) for i in range(0, len(codes), 16)])


def _losses(model: Generator, loss: ReconstructionLoss, images: TuningSet) -> Tensor:
    return reconstruction_losses(model, loss, images.targets, images.codes)


@torch.no_grad()
def _average(synthesis: SynthesisNetwork, previous: dict[str, Tensor], share: float) -> None:
    """Weights become ``share`` of the present ones and the rest of the previous ones."""
    for name, value in synthesis.state_dict().items():
        value.lerp_(previous[name], 1 - share)
