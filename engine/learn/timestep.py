"""One timestamp: new photos are anchored, learned together with the memory, measured, and a few of all are kept.

The only loop of its kind: a workspace's update, every benchmark and the demo run it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from everface.engine.config import InvertConfig, TuneConfig
from everface.engine.errors import UsageError
from everface.engine.latents.invert import Inversion
from everface.engine.latents.model import FaceModel, Floats, GeneratorShape, Index, Targets, join_camera
from everface.engine.learn.backend import Backend
from everface.engine.learn.capture import capture
from everface.engine.learn.mixing import Stream, codes_to_distil, replay_weights
from everface.engine.learn.tuning import Tuning, TuningRun, TuningState, tune
from everface.engine.photos.camera import sample_cameras
from everface.engine.progress import OnProgress, ignore_progress
from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.choose import choose
from everface.engine.replay.policies.registry import policy
from everface.engine.replay.policies.spread import spread_of

__all__ = ["Checkpoint", "LearnRun", "LearnSettings", "Memory", "NewPhotos", "Step", "learn"]

_INVERT_SHARE = 0.4  # of the time until the deadline, at the most


@dataclass(frozen=True, eq=False)
class NewPhotos:
    """The photos of a timestamp.

    Attributes:
        images: aligned, uint8 [n, R, R, 3], at least one.
        cameras: [n, camera_dim] from where they see the face; [n, 0] in 2D.
        bytes: [n] what each would take in the memory.
        anchors: codes [n, code_dim] and losses under the base, None to search for them.
    """

    images: NDArray[np.uint8]
    cameras: NDArray[np.floating]
    bytes: Index
    anchors: Inversion | None = None

    def __post_init__(self) -> None:
        if not len(self.images) or len(self.cameras) != len(self.images) or len(self.bytes) != len(self.images):
            given = f"{len(self.images)} images, {len(self.cameras)} cameras, {len(self.bytes)} sizes"
            raise UsageError("new photos", expected="at least one, as many of each", found=given)


@dataclass(frozen=True, eq=False)
class Memory:
    """What is left of earlier timestamps, as columns of m photos, and the codes of all that were learned.

    Attributes:
        timestamp: how many timestamps were learned: the index of the new one.
        images: uint8 [m, R, R, 3], as they come out of the store.
        codes: [m, code_dim] their anchors.
        timestamps: [m] of each.
        bytes: [m] what each takes.
        spread: [m] float64, see :func:`everface.engine.replay.policies.spread.spread_of`.
        losses: [m] when last measured; NaN before.
        anchors: of each timestamp W codes [a, w_dim] of its photos, kept or not, to rehearse the model's own pictures.
    """

    timestamp: int
    images: NDArray[np.uint8]
    codes: Floats
    timestamps: Index
    bytes: Index
    spread: NDArray[np.float64]
    losses: Floats
    anchors: tuple[Floats, ...] = ()

    @classmethod
    def empty(cls, shape: GeneratorShape, timestamp: int = 0, anchors: tuple[Floats, ...] = ()) -> Memory:
        """One without photos."""
        side, numbers = shape.resolution, np.zeros(0, np.int64)
        images, codes = np.zeros((0, side, side, 3), np.uint8), np.zeros((0, shape.code_dim), np.float32)
        return cls(timestamp, images, codes, numbers, numbers, np.zeros(0), np.zeros(0, np.float32), anchors)

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class LearnSettings:
    """How a timestamp is learned.

    Attributes:
        policy: name of the replay policy.
        tune: steps, learning rate, mix; None where the model has learned these photos already.
        invert: search of the new photos' anchors.
        seed: of every random choice.
        room_bytes: the most bytes of kept photos, None for no such limit.
        count: the most kept photos (the paper's b), None for no such limit.
        anew: start from the base and learn everything at hand, with as many steps as all timestamps had together.
        by_loss: replay photos in proportion to their loss when last measured.
    """

    policy: str = "er-hull"
    tune: TuneConfig | None = field(default_factory=TuneConfig)
    invert: InvertConfig = field(default_factory=InvertConfig)
    seed: int = 0
    room_bytes: int | None = None
    count: int | None = None
    anew: bool = False
    by_loss: bool = False


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """How far an interrupted timestamp had come: its anchors, and its tuning if that had begun."""

    anchors: Inversion
    tuning: TuningState | None = None


@dataclass(frozen=True, eq=False)
class LearnRun:
    """How a run behaves, beside what it learns.

    Attributes:
        deadline: time.monotonic() by which to end with what was learned so far, None for none.
        resume: how far an interrupted run of the same timestamp had come.
        checkpoint: receives that now and then.
        on_progress: hears the stages ``"invert"`` and ``"tune"``.
    """

    deadline: float | None = None
    resume: Checkpoint | None = None
    checkpoint: Callable[[Checkpoint], None] | None = None
    on_progress: OnProgress = ignore_progress


@dataclass(frozen=True, eq=False)
class Step:
    """What a timestamp came to.

    Attributes:
        model: the new model file.
        anchors: codes [n, code_dim] of the new photos, and their losses under the base.
        spread: [n] of the new photos, see :func:`everface.engine.replay.policies.spread.spread_of`.
        before: [n] losses of the new photos under the model before.
        after: [n] under the new model, as stored.
        remembered: [m] losses of the memory's photos under the new model.
        kept_old: ascending indices of the memory's photos that stay.
        kept_new: ascending indices of the new photos that are kept.
        tuning: steps, and why they ended.
        resumed_at: step at which an interrupted tuning was taken up, 0 for none.
        anew: whether the base was tuned, on all that was at hand.
    """

    model: bytes
    anchors: Inversion
    spread: NDArray[np.float64]
    before: Floats
    after: Floats
    remembered: Floats
    kept_old: Index
    kept_new: Index
    tuning: Tuning
    resumed_at: int
    anew: bool


def learn(
    backend: Backend,
    model: bytes | None,
    new: NewPhotos,
    memory: Memory,
    settings: LearnSettings,
    run: LearnRun | None = None,
) -> Step:
    """Learns one timestamp. Nothing that is passed is changed, and equal arguments give equal results.

    Args:
        backend: computes.
        model: the current model file, None for the base.
        new: the timestamp's photos.
        memory: what is left of earlier ones.
        settings: how.
        run: deadline, resumption, progress.

    Raises:
        UsageError: an unknown policy, or arrays that do not fit each other.
        NumericalError: tuning or inversion left the finite numbers.
        CheckpointError: not a model file of the backend's base.
    """
    run = run or LearnRun()
    targets = backend.prepare(new.images)
    anchors = _anchors(backend, new, targets, settings, run)
    old_targets = backend.prepare(memory.images) if len(memory) else None
    current = backend.model(model)
    before = current.losses(anchors.codes, targets)
    content, tuning = model or b"", Tuning((), "steps")
    if settings.tune is not None:
        material = _Material(backend, current, memory, anchors, targets, old_targets)
        content, tuning = material.tuned(model, settings, settings.tune, run)
        # Measured on the stored weights: what is reported is what a later open will see.
        current = backend.model(content)
    after = before if settings.tune is None else current.losses(anchors.codes, targets)
    remembered = memory.losses[:0] if old_targets is None else current.losses(memory.codes, old_targets)
    spread = spread_of(anchors.codes[:, : backend.shape.w_dim])
    pool = _pool(memory, remembered, new, anchors, spread, after, backend.shape.w_dim)
    rng = np.random.default_rng([settings.seed, memory.timestamp, 1])
    kept = choose(pool, policy(settings.policy), rng, room_bytes=settings.room_bytes, count=settings.count)
    resumed = run.resume.tuning if run.resume is not None else None
    return Step(
        model=content, anchors=anchors, spread=spread, before=before, after=after, remembered=remembered,
        kept_old=kept[kept < len(memory)], kept_new=kept[kept >= len(memory)] - len(memory), tuning=tuning,
        resumed_at=0 if resumed is None else len(resumed.losses), anew=settings.anew,
    )  # fmt: skip


def _anchors(backend: Backend, new: NewPhotos, targets: Targets, settings: LearnSettings, run: LearnRun) -> Inversion:
    if run.resume is not None:
        return run.resume.anchors
    if new.anchors is not None:
        return new.anchors
    deadline = run.deadline
    if deadline is not None:
        deadline = time.monotonic() + _INVERT_SHARE * max(0.0, deadline - time.monotonic())
    anchors = capture(
        backend, new.images, targets, new.cameras, settings.invert, deadline=deadline, on_progress=run.on_progress
    )
    if run.checkpoint is not None:
        run.checkpoint(Checkpoint(anchors))
    return anchors


@dataclass(frozen=True, eq=False)
class _Material:
    """What there is to learn from: new photos, stored ones, and the current model's own pictures."""

    backend: Backend
    current: FaceModel
    memory: Memory
    anchors: Inversion
    targets: Targets
    old_targets: Targets | None

    def tuned(
        self, model: bytes | None, settings: LearnSettings, config: TuneConfig, run: LearnRun
    ) -> tuple[bytes, Tuning]:
        """The new model file, and how it was tuned."""
        codes, targets = [self.anchors.codes], [self.targets]
        if self.old_targets is not None:
            codes.append(self.memory.codes)
            targets.append(self.old_targets)
        new, photos, pictures = len(self.anchors.codes), len(self.memory), 0
        if settings.anew:
            config = _for_all(config, self.memory.timestamp) if photos else config
            streams = [Stream(0, new + photos, config.new_per_step)]
        else:
            # The pictures are of the model before this timestamp, also where an interrupted one goes on.
            own = self._codes_to_distil(config, settings.seed)
            if pictures := len(own):
                codes.append(own)
                targets.append(self.backend.prepare(np.clip(self.current.render(own), -1, 1)))
            streams = self._streams(new, photos, pictures, settings, config)
        learner = self.backend.learner(None if settings.anew else model)
        started = run.resume.tuning if run.resume is not None else None
        save = run.checkpoint
        tuning = tune(
            learner, np.concatenate(codes), self.backend.join(*targets), streams, config,
            TuningRun(
                seed=settings.seed + self.memory.timestamp, deadline=run.deadline, resume=started,
                checkpoint=None if save is None else lambda state: save(Checkpoint(self.anchors, state)),
                on_progress=run.on_progress,
            ),
        )  # fmt: skip
        return learner.model_bytes(), tuning

    def _streams(
        self, new: int, photos: int, pictures: int, settings: LearnSettings, config: TuneConfig
    ) -> list[Stream]:
        streams = [Stream(0, new, config.new_per_step)]
        if photos + pictures and config.replay_per_step:
            by_loss = self.memory.losses.tolist() if settings.by_loss else None
            weights = replay_weights(photos, pictures, by_loss)
            streams.append(Stream(new, photos + pictures, config.replay_per_step, weights))
        return streams

    def _codes_to_distil(self, config: TuneConfig, seed: int) -> Floats:
        styles = codes_to_distil(self.memory.anchors, config.distil_codes, np.random.default_rng([seed, 4]))
        if not len(styles):
            return styles
        # A head of the current model can be looked at from anywhere; 2D codes carry no camera.
        cameras = sample_cameras(len(styles), np.random.default_rng([seed, 5]))
        return join_camera(styles, cameras[:, : self.backend.shape.camera_dim])


def _for_all(config: TuneConfig, timestamp: int) -> TuneConfig:
    """Every image in turn, with as many steps in all as the timestamps so far had."""
    both = config.new_per_step + config.replay_per_step
    return replace(config, new_per_step=both, max_steps=config.max_steps * (timestamp + 1))


def _pool(
    memory: Memory, remembered: Floats, new: NewPhotos, anchors: Inversion, spread: NDArray[np.float64], after: Floats,
    w_dim: int,
) -> Pool:  # fmt: skip
    """The candidates: the memory's photos first, then the new ones, with their losses under the new model."""
    timestamps = np.full(len(new.images), memory.timestamp, np.int64)
    return Pool(
        latents=np.concatenate([memory.codes, anchors.codes])[:, :w_dim].astype(np.float64),
        groups=np.concatenate([memory.timestamps, timestamps]),
        bytes=np.concatenate([memory.bytes, new.bytes]),
        spread=np.concatenate([memory.spread, spread]),
        loss=np.concatenate([remembered, after]).astype(np.float64),
    )
