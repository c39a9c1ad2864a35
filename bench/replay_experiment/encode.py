"""What all methods of a person and seed share, computed once and kept: codes under the base, the t = 0 model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from everface.bench.keeping import Keeping
from everface.bench.replay_experiment.people import Person, save_arrays
from everface.bench.replay_experiment.timeline import Timeline, appearance, make_timeline, plan_for
from everface.bench.sequence import Embed, EncodedBatch, SequenceSettings, encode_batch, first_model
from everface.engine.config import EngineConfig, InvertConfig, TuneConfig
from everface.engine.learn.backend import Backend
from everface.engine.learn.capture import capture
from everface.engine.learn.values import LearnSettings
from everface.engine.perception.perceptual import PerceptualDistance


@dataclass(frozen=True)
class Settings:
    """How the experiment is run; results of other settings are never mixed with these.

    Attributes:
        base, dimension: the generator to start from.
        timestamps: the most of them.
        train: photos to learn in a timestamp (the paper: 20).
        test: photos to judge by (the paper: 10).
        perceptual_side: photos are enlarged to this before the perceptual network of tuning and inversion.
        invert: search of W codes under the base.
        tune: of each timestamp, the same number of updates for all methods.
        doubled: replay comes on top, as the paper does it: twice the images in an update. Otherwise an update of
            ``lower`` sees as many images as one with replay.
        evaluate: W+ optimisation of the held-out photos.
        samples: P0 samples for each judgement of identity.
    """

    base: str = "base64"
    dimension: str = "2d"
    timestamps: int = 10
    train: int = 10
    test: int = 5
    perceptual_side: int = 64
    invert: InvertConfig = field(default_factory=lambda: InvertConfig(40, 0.1, 15))
    tune: TuneConfig = field(default_factory=lambda: TuneConfig(max_steps=100, learning_rate=8e-3, settle_window=0))
    doubled: bool = False
    evaluate: InvertConfig = field(default_factory=lambda: InvertConfig(10, 0.05, 25))
    samples: int = 10

    @property
    def engine(self) -> EngineConfig:
        """Of the base."""
        return EngineConfig(base=self.base, dimension=self.dimension)

    @property
    def without_replay(self) -> TuneConfig:
        """Tuning on new photos alone: as many images in an update as with replay, unless batches are doubled."""
        extra = 0 if self.doubled else self.tune.replay_per_step
        return replace(self.tune, new_per_step=self.tune.new_per_step + extra, replay_per_step=0)

    def key(self, *names: str) -> str:
        """Stands for the named settings, all of them where none is named."""
        values = {name: value for name, value in dataclasses.asdict(self).items() if not names or name in names}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:10]


@dataclass(frozen=True, eq=False)
class Encoded:
    """A person's timeline, ready for every method.

    Attributes:
        timeline: the groups.
        batches: with codes under the base and identity embeddings.
        first: the t = 0 model.
    """

    timeline: Timeline
    batches: tuple[EncodedBatch, ...]
    first: bytes

    @property
    def png_bytes(self) -> float:
        """Mean bytes of the photos to learn as PNG files."""
        photos = np.concatenate([batch.train for batch in self.timeline.batches])
        return float(np.mean([Keeping().store(photo)[1] for photo in photos]))


def encoded_person(
    backend: Backend, person: Person, seed: int, settings: Settings, embed: Embed, cache: Path
) -> Encoded:  # fmt: skip
    """Reads or computes it. Two processes that ask for the same wait for one another.

    Args:
        backend: of ``settings.base``, with its loss.
        person: the photos.
        seed: of the timeline and of tuning.
        settings: the rest.
        embed: identity embeddings of the held-out photos.
        cache: a folder, made where it is missing.
    """
    cache.mkdir(parents=True, exist_ok=True)
    plan = plan_for(len(person), settings.timestamps, settings.train, settings.test)
    with FileLock(cache / f".{person.name}.lock"):
        timeline = make_timeline(person, appearance(person, PerceptualDistance.load()), plan, seed)
        cameras = person.cameras[:, : backend.shape.camera_dim]
        codes = _codes(backend, person, np.concatenate(timeline.rows), settings, cache)
        batches = tuple(
            encode_batch(backend, dataclasses.replace(batch, cameras=cameras[row]), codes[row], None, embed)
            for batch, row in zip(timeline.batches, timeline.rows, strict=True)
        )
        first = _first(backend, person, batches[0], seed, settings, cache)
    return Encoded(timeline, batches, first)


def _codes(
    backend: Backend, person: Person, rows: NDArray[np.int64], settings: Settings, cache: Path
) -> NDArray[np.float32]:
    """[n, code_dim] codes under the base; NaN for photos that no timeline has asked for."""
    key = settings.key("base", "perceptual_side", "invert")
    path = cache / f"codes-{person.name}-{len(person)}-{key}.npz"
    codes = np.full((len(person), backend.shape.code_dim), np.nan, np.float32)
    if path.is_file():
        with np.load(path) as arrays:
            codes = arrays["codes"]
    missing = np.array([row for row in np.sort(rows) if np.isnan(codes[row]).any()], np.int64)
    if len(missing):
        cameras = person.cameras[missing, : backend.shape.camera_dim]
        images = person.images[missing]
        codes[missing] = capture(backend, images, backend.prepare(images), cameras, settings.invert).codes
        save_arrays(path, codes=codes)
    return codes


def _first(
    backend: Backend, person: Person, batch: EncodedBatch, seed: int, settings: Settings, cache: Path
) -> bytes:  # fmt: skip
    names = ("base", "timestamps", "train", "test", "perceptual_side", "invert", "tune", "doubled")
    path = cache / f"first-{person.name}-{len(person)}-{seed}-{settings.key(*names)}.safetensors"
    if not path.is_file():
        learn = LearnSettings("lower", settings.without_replay, settings.invert, seed)
        part = path.with_suffix(".part")
        part.write_bytes(first_model(backend, batch, SequenceSettings(learn, Keeping(0))))
        part.replace(path)
    return path.read_bytes()
