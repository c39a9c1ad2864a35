"""What all methods of a person and seed share, computed once and kept: codes under the base, the t = 0 model."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from everface.bench.protocol import Batch, Embed, EncodedBatch
from everface.bench.replay_experiment.people import Person, save_arrays
from everface.bench.replay_experiment.timeline import Timeline, appearance, make_timeline, plan_for
from everface.engine.config import InvertConfig, TuneConfig
from everface.engine.generators.stylegan2 import Generator
from everface.engine.latents.invert import invert, reconstruction_losses
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.perception.perceptual import PerceptualDistance
from everface.engine.replay.policies.spread import spread_of
from everface.engine.session.kit import Kit, to_tensor
from everface.engine.tune.loop import TuneRun, TuningSet, tune

__all__ = ["Encoded", "Settings", "encoded_person", "loss_at", "png_bytes"]


@dataclass(frozen=True)
class Settings:
    """How the experiment is run; results of other settings are never mixed with these.

    Attributes:
        base: the generator to start from.
        timestamps: the most of them.
        train: photos to learn in a timestamp, None to decide by the album's size.
        test: photos to judge by.
        perceptual_side: photos are enlarged to this before the perceptual network of tuning and inversion.
        invert: search of W codes under the base.
        tune: of each timestamp, the same number of updates for all methods.
        doubled: replay comes on top, as the paper does it: twice the images in an update. Otherwise an update of
            ``lower`` sees as many images as one with replay.
        evaluate: W+ optimisation of the held-out photos.
        samples: P0 samples for each judgement of identity.
    """

    base: str = "base64"
    timestamps: int = 10
    train: int | None = 10
    test: int | None = 5
    perceptual_side: int = 64
    invert: InvertConfig = field(default_factory=lambda: InvertConfig(40, 0.1, 15))
    tune: TuneConfig = field(default_factory=lambda: TuneConfig(max_steps=100, learning_rate=8e-3, settle_window=0))
    doubled: bool = False
    evaluate: InvertConfig = field(default_factory=lambda: InvertConfig(10, 0.05, 25))
    samples: int = 10

    @property
    def without_replay(self) -> TuneConfig:
        """Tuning on new photos alone: as many images in an update as with replay, unless batches are doubled."""
        extra = 0 if self.doubled else self.tune.replay_per_step
        return replace(self.tune, new_per_step=self.tune.new_per_step + extra, replay_per_step=0)

    def key(self, *names: str) -> str:
        """Stands for the named settings, all of them where none is named."""
        told = {name: value for name, value in dataclasses.asdict(self).items() if not names or name in names}
        if "tune" in told and not self.tune.lora_rank:
            # A LoRA's settings say nothing where there is none.
            told["tune"] = {name: value for name, value in told["tune"].items() if not name.startswith("lora_")}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:10]


@dataclass(frozen=True, eq=False)
class Encoded:
    """A person's timeline, ready for every method.

    Attributes:
        person: whose.
        timeline: the groups.
        batches: with codes under the base and identity embeddings.
        first: the t = 0 model.
    """

    person: Person
    timeline: Timeline
    batches: tuple[EncodedBatch, ...]
    first: Generator


def loss_at(side: int) -> ReconstructionLoss:
    """The engine's loss with the perceptual network's input at another size than its default."""
    perceptual = PerceptualDistance.load()
    perceptual.side = side
    return ReconstructionLoss(perceptual)


def png_bytes(images: NDArray[np.uint8]) -> float:
    """Mean bytes of the images as PNG files."""
    sizes = []
    for image in images:
        held = io.BytesIO()
        Image.fromarray(image).save(held, "PNG", optimize=True)
        sizes.append(len(held.getvalue()))
    return float(np.mean(sizes))


def encoded_person(
    kit: Kit, loss: ReconstructionLoss, person: Person, seed: int, settings: Settings, embed: Embed, cache: Path
) -> Encoded:  # fmt: skip
    """Reads or computes it. Two processes that ask for the same wait for one another.

    Args:
        kit: the networks of ``settings.base``.
        loss: of inversion and tuning.
        person: the photos.
        seed: of the timeline and of tuning.
        settings: the rest.
        embed: identity embeddings of the held-out photos.
        cache: a folder, made where it is missing.
    """
    cache.mkdir(parents=True, exist_ok=True)
    plan = plan_for(len(person), settings.timestamps, settings.train, settings.test)
    with _alone(cache / f".{person.name}.lock"):
        timeline = make_timeline(person, appearance(person, PerceptualDistance.load()), plan, seed)
        codes = _codes(kit, loss, person, np.concatenate(timeline.rows), settings, cache)
        batches = tuple(
            _encoded(kit, loss, batch, codes[row], embed)
            for batch, row in zip(timeline.batches, timeline.rows, strict=True)
        )
        first = _first(kit, loss, person, batches[0].train, seed, settings, cache)
    return Encoded(person, timeline, batches, first)


def _encoded(
    kit: Kit, loss: ReconstructionLoss, batch: Batch, codes: NDArray[np.float32], embed: Embed
) -> EncodedBatch:
    split = len(batch.train)
    sets = [
        TuningSet(torch.from_numpy(part), loss.prepare(to_tensor(images)))
        for part, images in ((codes[:split], batch.train), (codes[split:], batch.held_out))
    ]
    base = kit.base.generator
    losses = [reconstruction_losses(base, loss, one.targets, one.codes) for one in sets]
    return EncodedBatch(batch, sets[0], sets[1], losses[0], losses[1], spread_of(codes[:split]), embed(batch.held_out))


def _codes(
    kit: Kit, loss: ReconstructionLoss, person: Person, rows: NDArray[np.int64], settings: Settings, cache: Path
) -> NDArray[np.float32]:  # fmt: skip
    """[n, w_dim] codes under the base; NaN for photos that no timeline has asked for."""
    key = settings.key("base", "perceptual_side", "invert")
    path = cache / f"codes-{person.name}-{len(person)}-{key}.npz"
    codes = np.full((len(person), kit.base.generator.config.w_dim), np.nan, np.float32)
    if path.is_file():
        with np.load(path) as arrays:
            codes = arrays["codes"]
    missing = np.array([row for row in np.sort(rows) if np.isnan(codes[row]).any()], np.int64)
    if len(missing):
        targets = loss.prepare(to_tensor(person.images[missing]))
        found = invert(kit.base.generator, loss, targets, kit.w.mean, settings.invert)
        codes[missing] = found.codes.numpy()
        save_arrays(path, codes=codes)
    return codes


def _first(
    kit: Kit, loss: ReconstructionLoss, person: Person, photos: TuningSet, seed: int, settings: Settings, cache: Path
) -> Generator:  # fmt: skip
    names = ("base", "timestamps", "train", "test", "perceptual_side", "invert", "tune", "doubled")
    path = cache / f"first-{person.name}-{len(person)}-{seed}-{settings.key(*names)}.safetensors"
    if path.is_file():
        return Generator.from_bytes(path.read_bytes(), path.name)
    generator = kit.fresh_generator()
    tune(generator, loss, photos, None, settings.without_replay, TuneRun(seed=seed))
    held = path.with_suffix(".part")
    held.write_bytes(generator.to_bytes({"base_sha256": kit.base.sha256, "kind": "personal"}))
    held.replace(path)
    # Read back, so that every method starts from the same rounded weights, whoever computed them.
    return Generator.from_bytes(path.read_bytes(), path.name)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
