"""LoRA against full tuning on the embedded album: what is learned, forgotten and stored.

    python -m everface.bench.lora [--full] [--json FILE]

Three outings of the synthetic person are learned one after the other from the same anchors, with one photo of every
earlier outing replayed. Losses are those of the stored half-precision weights on the outings' own photos; identity is
the mean best cosine of generated pictures to photos that were held out.
"""

from __future__ import annotations

import copy
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from everface.bench.common import BenchResult, Row, command_line, machine
from everface.engine.assets import asset_path
from everface.engine.config import EngineConfig, TuneConfig
from everface.engine.generators.lora import LoRA
from everface.engine.generators.lora_weights import LoRAConfig
from everface.engine.generators.stylegan2 import Generator
from everface.engine.latents.invert import invert, reconstruction_losses
from everface.engine.latents.sample import sample_p0
from everface.engine.metrics.forgetting import forgetting
from everface.engine.metrics.identity import mean_best_cosine
from everface.engine.perception.losses import PreparedTargets
from everface.engine.photos import prepare_photos
from everface.engine.session.kit import Kit, to_images, to_tensor
from everface.engine.tune.learner import AdaptedLearner
from everface.engine.tune.loop import TuneRun, TuningSet, tune

__all__ = ["run"]

_OUTINGS = 3
_PHOTOS = 6  # of an outing, the last two held out
_HELD_OUT = 2
_SAMPLES = 8


@dataclass(frozen=True, eq=False)
class _Outing:
    learned: TuningSet
    held_out: NDArray[np.float32]


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
    kit = Kit(EngineConfig())
    outings = _outings(kit)
    rows = []
    for method in _METHODS:
        rows += _measure(kit, outings, method, 300 if full else 24)
    return BenchResult("lora", tuple(rows), machine())


def _outings(kit: Kit) -> list[_Outing]:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(asset_path("demo_album.zip")) as archive:
            archive.extractall(folder)
        for name in sorted(path for path in Path(folder).iterdir() if path.is_dir())[:_OUTINGS]:
            paths = sorted(name.glob("*.jpg"))[:_PHOTOS]
            batch = prepare_photos(paths, kit.resolution, kit.config.photo, models=kit.faces)
            images = np.stack([photo.image for photo in batch.accepted])
            targets = kit.loss.prepare(to_tensor(images[:-_HELD_OUT]))
            codes = invert(kit.base.generator, kit.loss, targets, kit.w.mean, kit.config.invert).codes
            found.append(_Outing(TuningSet(codes, targets), kit.embed(images[-_HELD_OUT:])))
    return found


def _measure(kit: Kit, outings: list[_Outing], method: _Method, steps: int) -> list[Row]:
    count = len(outings)
    losses, identity = np.full((count, count), np.nan), np.full((count, count), np.nan)
    content, trained = b"", 0
    subject, lora = kit.fresh_generator(), None
    if method.rank:
        lora = LoRA.create(subject, LoRAConfig(method.rank))
    for t, outing in enumerate(outings):
        learner = subject if lora is None else AdaptedLearner(subject, lora)
        tune(learner, kit.loss, outing.learned, _replayed(outings[:t]), method.config(steps), TuneRun(seed=t))
        content, stored = _stored(kit, subject, lora)
        trained = lora.size if lora else sum(one.numel() for one in subject.tunable_parameters().values())
        for k in range(t + 1):
            past = outings[k].learned
            losses[t, k] = reconstruction_losses(stored, kit.loss, past.targets, past.codes).mean()
            identity[t, k] = _identity(kit, stored, outings[k])
    start = outings[0].learned
    first = reconstruction_losses(kit.base.generator, kit.loss, start.targets, start.codes)
    told = {
        "loss base, first outing": (float(first.mean()), "loss"),
        "loss just learned": (float(np.diag(losses).mean()), "loss"),
        "loss last model": (float(losses[-1].mean()), "loss"),
        "forgetting loss": (forgetting(losses, higher_is_better=False), "loss"),
        "identity last model": (float(identity[-1].mean()), "cosine"),
        "forgetting identity": (forgetting(identity, higher_is_better=True), "cosine"),
        "model file": (float(len(content)), "bytes"),
        "trained": (float(trained), "parameters"),
    }
    return [Row(f"{method.name}, {steps} steps", metric, value, unit) for metric, (value, unit) in told.items()]


def _stored(kit: Kit, subject: Generator, lora: LoRA | None) -> tuple[bytes, Generator]:
    """The model file, and what a later open makes of it."""
    if lora is None:
        content = subject.to_bytes({})
        return content, Generator.from_bytes(content, "model")
    content, stored = lora.to_bytes(kit.base.sha256), copy.deepcopy(kit.base.generator)
    LoRA.from_bytes(content, stored, kit.base.sha256).merge(stored)
    return content, stored


def _replayed(past: list[_Outing]) -> TuningSet | None:
    if not past:
        return None
    codes = torch.cat([one.learned.codes[:1] for one in past])
    return TuningSet(codes, PreparedTargets.join(*(one.learned.targets[torch.tensor([0])] for one in past)))


@torch.no_grad()
def _identity(kit: Kit, generator: Generator, outing: _Outing) -> float:
    codes = sample_p0(outing.learned.codes.numpy(), _SAMPLES, np.random.default_rng(0))
    return mean_best_cosine(kit.embed(to_images(generator.render(torch.from_numpy(codes)))), outing.held_out)


if __name__ == "__main__":
    sys.exit(command_line("lora", __doc__, lambda full, _: run(full)))
