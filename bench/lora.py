"""LoRA against full tuning on the embedded album: what is learned, forgotten and stored.

    python -m everface.bench.lora [--full] [--json FILE]

Three outings of the synthetic person are learned one after the other from the same anchors, with one photo of every
earlier outing replayed. Losses are those of the stored half-precision weights on the outings' own photos; identity is
the mean best cosine of generated pictures to photos that were held out.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from everface.bench.common import BenchResult, Row, command_line, machine
from everface.bench.demo_album import unpack_demo_album
from everface.bench.sequence import Batch, EncodedBatch, inverted_batch, samples_of
from everface.engine.config import EngineConfig, TuneConfig
from everface.engine.generators.weights import read_arrays
from everface.engine.learn.backend import Backend, open_backend
from everface.engine.learn.timestep import learn
from everface.engine.learn.values import LearnSettings, Memory, NewPhotos
from everface.engine.metrics.forgetting import forgetting
from everface.engine.metrics.identity import mean_best_cosine
from everface.engine.photos import FaceModels, prepare_photos

_OUTINGS = 3
_PHOTOS = 6  # of an outing, the last two held out
_HELD_OUT = 2
_SAMPLES = 8


@dataclass(frozen=True)
class _Method:
    """A LoRA of this rank, or full tuning for 0."""

    rank: int
    rate: float

    @property
    def name(self) -> str:
        return f"LoRA rank {self.rank}, rate {self.rate:g}" if self.rank else f"full, rate {self.rate:g}"

    def config(self, steps: int) -> TuneConfig:
        return TuneConfig(steps, self.rate, lora_rank=self.rank, lora_learning_rate=self.rate, settle_window=0)


_METHODS = (_Method(0, 3e-3), _Method(1, 3e-2), _Method(4, 3e-2))


def run(full: bool = False) -> BenchResult:
    """Updates of 24 steps, or of 300."""
    config = EngineConfig()
    outings = _outings(config)
    rows = []
    for method in _METHODS:
        steps = 300 if full else 24
        backend = open_backend(replace(config, tune=method.config(steps)))
        rows += _measure(backend, outings, method, steps)
    return BenchResult("lora", tuple(rows), machine())


def _outings(config: EngineConfig) -> list[EncodedBatch]:
    backend, faces = open_backend(config), FaceModels.load()
    with tempfile.TemporaryDirectory() as folder:
        unpack_demo_album(Path(folder))
        outings = []
        for name in sorted(path for path in Path(folder).iterdir() if path.is_dir())[:_OUTINGS]:
            paths = sorted(name.glob("*.jpg"))[:_PHOTOS]
            photos = prepare_photos(paths, backend.shape.resolution, config.photo, models=faces).accepted
            images = np.stack([photo.image for photo in photos])
            batch = Batch(name.name, images[:-_HELD_OUT], images[-_HELD_OUT:])
            outings.append(inverted_batch(backend, batch, config.invert, backend.embed))
    return outings


def _measure(backend: Backend, outings: list[EncodedBatch], method: _Method, steps: int) -> list[Row]:
    count = len(outings)
    losses, identity = np.full((count, count), np.nan), np.full((count, count), np.nan)
    settings = LearnSettings("lower", method.config(steps), count=0)
    model: bytes | None = None
    for t, outing in enumerate(outings):
        size = len(outing.batch.train)
        new = NewPhotos(outing.batch.train, np.zeros((size, 0)), np.zeros(size, np.int64), outing.train)
        model = learn(backend, model, new, _one_of_each(backend, outings[:t]), settings).model
        stored = backend.model(model)
        for k, past in enumerate(outings[: t + 1]):
            losses[t, k] = stored.losses(past.train.codes, past.train_targets).mean()
            identity[t, k] = mean_best_cosine(backend.embed(samples_of(stored, past, _SAMPLES, 0, k)), past.references)
    if method.rank:
        trained = sum(factor.size for factor in read_arrays(model or b"", "model").values())
    else:
        trained = sum(weight.numel() for weight in backend.base.generator.tunable_parameters().values())
    values = {
        "loss base, first outing": (float(outings[0].train.losses.mean()), "loss"),
        "loss just learned": (float(np.diag(losses).mean()), "loss"),
        "loss last model": (float(losses[-1].mean()), "loss"),
        "forgetting loss": (forgetting(losses, higher_is_better=False), "loss"),
        "identity last model": (float(identity[-1].mean()), "cosine"),
        "forgetting identity": (forgetting(identity, higher_is_better=True), "cosine"),
        "model file": (float(len(model or b"")), "bytes"),
        "trained": (float(trained), "parameters"),
    }
    return [Row(f"{method.name}, {steps} steps", metric, value, unit) for metric, (value, unit) in values.items()]


def _one_of_each(backend: Backend, past: list[EncodedBatch]) -> Memory:
    """The first photo of every earlier outing."""
    if not past:
        return Memory.empty(backend.shape)
    numbers = np.zeros(len(past), np.int64)
    return Memory(
        timestamp=len(past),
        images=np.stack([outing.batch.train[0] for outing in past]),
        codes=np.stack([outing.train.codes[0] for outing in past]),
        timestamps=np.arange(len(past)),
        bytes=numbers,
        spread=numbers.astype(np.float64),
        losses=np.array([outing.train.losses[0] for outing in past], np.float32),
    )


if __name__ == "__main__":
    sys.exit(command_line("lora", __doc__, lambda full, _: run(full)))
