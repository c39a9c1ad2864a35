"""A person's timeline learned timestamp by timestamp, by the same loop as a workspace's updates, 2D and 3D alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from everface.bench.keeping import Keeping, remembered
from everface.engine.config import InvertConfig, TuneConfig
from everface.engine.latents.invert import Inversion
from everface.engine.latents.model import FaceModel, Floats, Targets, join_camera
from everface.engine.latents.sample import sample_p0
from everface.engine.learn.backend import Backend
from everface.engine.learn.capture import capture
from everface.engine.learn.timestep import learn
from everface.engine.learn.values import LearnSettings, Memory, NewPhotos, Step
from everface.engine.pictures import to_uint8
from everface.engine.progress import OnProgress, ignore_progress
from everface.engine.replay.policies.spread import spread_of

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Aligned crops uint8 [n, R, R, 3] to identity embeddings [n, d]."""
UPPER, CUMULATIVE = "upper", "cumulative"
REFERENCES = (UPPER, CUMULATIVE)
"""Methods that keep every photo and are tuned from the base; see ``method_steps``."""
_UNLIMITED = 10**9


@dataclass(frozen=True, eq=False)
class Batch:
    """One timestamp: aligned crops uint8 [n, R, R, 3] to learn, and [m, R, R, 3] to judge by.

    Attributes:
        title: for pages.
        train: to learn.
        held_out: to judge by.
        cameras: [n + m, camera_dim] from where they see the face, those to learn first; None in 2D.
    """

    title: str
    train: NDArray[np.uint8]
    held_out: NDArray[np.uint8]
    cameras: NDArray[np.floating] | None = None

    @property
    def labels(self) -> NDArray[np.floating]:
        """The cameras; [n + m, 0] in 2D."""
        return np.zeros((len(self.train) + len(self.held_out), 0)) if self.cameras is None else self.cameras

    @property
    def photos(self) -> NDArray[np.uint8]:
        """All, those to learn first."""
        return np.concatenate([self.train, self.held_out])


@dataclass(frozen=True, eq=False)
class EncodedBatch:
    """A batch with all that does not depend on the method.

    Attributes:
        batch: the photos.
        train: anchors of the photos to learn, with their losses under the base.
        held_out: codes of the others under the base, with their losses.
        train_targets, held_out_targets: the photos, prepared.
        references: identity embeddings of the held-out photos.
    """

    batch: Batch
    train: Inversion
    held_out: Inversion
    train_targets: Targets
    held_out_targets: Targets
    references: NDArray[np.float32]

    def styles(self, width: int) -> Floats:
        """W codes [n, w_dim] of the photos to learn."""
        return np.ascontiguousarray(self.train.codes[:, :width])


@dataclass(frozen=True)
class SequenceSettings:
    """How a method learns a timeline.

    Attributes:
        learn: policy, tuning, seed.
        keeping: the memory.
        alone: tuning where nothing is replayed, None for the same.
    """

    learn: LearnSettings
    keeping: Keeping
    alone: TuneConfig | None = None

    def at(self, memory: Memory) -> LearnSettings:
        """The settings of a timestamp."""
        tune = self.learn.tune
        if self.alone is not None and not len(memory) and not (tune is not None and tune.distil_codes):
            tune = self.alone
        return self.keeping.within(replace(self.learn, tune=tune))


@dataclass(frozen=True, eq=False)
class Timestep:
    """One timestamp of a method.

    Attributes:
        step: what learning came to; at timestamp 0 the model that all methods start from.
        memory: after it.
        origins: (timestamp, index in its batch) of each photo in the memory.
        before: [n] losses of the new photos before they were learned.
        seconds: wall-clock time of tuning and choosing.
    """

    step: Step
    memory: Memory
    origins: tuple[tuple[int, int], ...]
    before: Floats
    seconds: float


def encode_batch(
    backend: Backend, batch: Batch, codes: Floats, losses: Floats | None, embed: Embed
) -> EncodedBatch:  # fmt: skip
    """A batch with its codes [n + m, code_dim] under the base, those to learn first, and their losses if known."""
    split = len(batch.train)
    targets = backend.prepare(batch.train), backend.prepare(batch.held_out)
    if losses is None:
        base = backend.model(None)
        losses = np.concatenate([base.losses(codes[:split], targets[0]), base.losses(codes[split:], targets[1])])
    train, held_out = (Inversion(codes[part], losses[part]) for part in (slice(split), slice(split, None)))
    return EncodedBatch(batch, train, held_out, *targets, embed(batch.held_out))


def inverted_batch(
    backend: Backend, batch: Batch, config: InvertConfig, embed: Embed, on_progress: OnProgress = ignore_progress
) -> EncodedBatch:
    """A batch with its codes."""
    photos = batch.photos
    inversion = capture(backend, photos, backend.prepare(photos), batch.labels, config, on_progress=on_progress)
    return encode_batch(backend, batch, inversion.codes, inversion.losses, embed)


def first_model(backend: Backend, batch: EncodedBatch, settings: SequenceSettings) -> bytes:
    """The t = 0 model that all methods start from: the base, tuned on the first batch."""
    memory = Memory.empty(backend.shape)
    new, _ = _new_photos(batch, settings.keeping)
    return learn(backend, None, new, memory, settings.at(memory)).model


def timesteps(
    backend: Backend,
    first: bytes,
    batches: Sequence[EncodedBatch],
    settings: SequenceSettings,
) -> Iterator[Timestep]:
    """A method over the whole timeline. It needs nothing of other methods, so methods can run anywhere.

    Args:
        backend: of the base.
        first: the t = 0 model; it has learned the first batch.
        batches: the timeline.
        settings: the method.
    """
    model, memory = first, Memory.empty(backend.shape)
    origins: tuple[tuple[int, int], ...] = ()
    for t, batch in enumerate(batches):
        began = time.monotonic()
        new, stored = _new_photos(batch, settings.keeping)
        now = settings.at(memory)
        step = learn(backend, model, new, memory, now if t else replace(now, tune=None))
        memory = remembered(memory, new, step, stored)
        origins = (*(origins[i] for i in step.kept_old), *((t, int(i)) for i in step.kept_new))
        before = step.before if t else step.anchors.losses
        yield Timestep(step, memory, origins, before, time.monotonic() - began)
        model = step.model


def method_steps(
    name: str, backend: Backend, first: bytes, batches: Sequence[EncodedBatch], settings: SequenceSettings
) -> Iterator[tuple[int, Timestep]]:
    """A method's models, each with the timestamp that it has learned last.

    Args:
        name: a sequence's; or a reference's, which tunes the base once on all photos until a timestamp: ``upper`` until
            the last one, ``cumulative`` until each, the first timestamp's being the model that all methods start from.
        backend, first, batches, settings: see ``timesteps``.
    """
    last = len(batches) - 1
    if name not in REFERENCES:
        yield from enumerate(timesteps(backend, first, batches, settings))
        return
    if name == CUMULATIVE:
        yield 0, next(timesteps(backend, first, batches[:1], settings))
    for t in range(1 if name == CUMULATIVE else last, last + 1):
        yield t, joint_step(backend, batches[: t + 1], settings.learn)


def joint_step(backend: Backend, batches: Sequence[EncodedBatch], settings: LearnSettings) -> Timestep:
    """The base tuned once on all photos of the batches, with as many steps as their timestamps have together."""
    began, keeping = time.monotonic(), Keeping(_UNLIMITED)
    memory = _everything(backend, batches[:-1])
    new, _ = _new_photos(batches[-1], keeping)
    everything = keeping.within(replace(settings, policy="upper", anew=True))
    step = learn(backend, None, new, memory, everything)
    before = np.concatenate([batch.train.losses for batch in batches])
    return Timestep(step, memory, (), before, time.monotonic() - began)


def _everything(backend: Backend, batches: Sequence[EncodedBatch]) -> Memory:
    """A memory that has kept all photos of the batches."""
    if not batches:
        return Memory.empty(backend.shape)
    sizes = [len(batch.batch.train) for batch in batches]
    return Memory(
        timestamp=len(batches),
        images=np.concatenate([batch.batch.train for batch in batches]),
        codes=np.concatenate([batch.train.codes for batch in batches]),
        timestamps=np.repeat(np.arange(len(batches)), sizes),
        bytes=np.zeros(sum(sizes), np.int64),
        spread=np.concatenate([spread_of(batch.styles(backend.shape.w_dim)) for batch in batches]),
        losses=np.concatenate([batch.train.losses for batch in batches]),
    )


def _new_photos(batch: EncodedBatch, keeping: Keeping) -> tuple[NewPhotos, NDArray[np.uint8]]:
    """The photos to learn, and as they come out of the store."""
    stored, sizes = zip(*(keeping.store(image) for image in batch.batch.train), strict=True)
    train = batch.batch.train
    return NewPhotos(train, batch.batch.labels[: len(train)], np.array(sizes, np.int64), batch.train), np.stack(stored)


def samples_of(model: FaceModel, batch: EncodedBatch, count: int, seed: int, timestamp: int) -> NDArray[np.uint8]:
    """P0 samples of a timestamp's own anchors, uint8 [count, R, R, 3]; the same codes for every model.

    In 3D they are seen from the cameras of its held-out photos in turn.
    """
    width = model.shape.w_dim
    codes = sample_p0(batch.styles(width), count, np.random.default_rng([seed, timestamp, 2]))
    cameras = batch.held_out.codes[np.arange(count) % len(batch.held_out.codes), width:]
    return to_uint8(model.render(join_camera(codes, cameras)))
