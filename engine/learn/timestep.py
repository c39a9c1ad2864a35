"""One timestamp: new photos are anchored, learned together with the memory, measured, and a few of all are kept.

The only loop of its kind: a workspace's update, every benchmark and the demo run it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from everface.engine.config import TuneConfig
from everface.engine.latents.invert import Inversion
from everface.engine.latents.model import FaceModel, Floats, Targets, join_camera
from everface.engine.learn.backend import Backend
from everface.engine.learn.capture import capture
from everface.engine.learn.mixing import Stream, codes_to_distil, replay_weights
from everface.engine.learn.tuning import Tuning, TuningRun, tune
from everface.engine.learn.values import Checkpoint, LearnRun, LearnSettings, Memory, NewPhotos, Step
from everface.engine.photos.camera import sample_cameras
from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.choose import choose
from everface.engine.replay.policies.registry import policy
from everface.engine.replay.policies.spread import spread_of

__all__ = ["learn"]

_INVERT_SHARE = 0.4  # of the time until the deadline, at the most


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
    latents = np.concatenate([memory.codes, anchors.codes])[:, : backend.shape.w_dim]
    pool = _pool(latents, memory, new, np.concatenate([memory.spread, spread]), np.concatenate([remembered, after]))
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


def _pool(latents: Floats, memory: Memory, new: NewPhotos, spread: NDArray[np.float64], losses: Floats) -> Pool:
    """The candidates: the memory's photos first, then the new ones, with their losses under the new model."""
    timestamps = np.full(len(new.images), memory.timestamp, np.int64)
    return Pool(
        latents=latents.astype(np.float64),
        groups=np.concatenate([memory.timestamps, timestamps]),
        bytes=np.concatenate([memory.bytes, new.bytes]),
        spread=spread,
        loss=losses.astype(np.float64),
    )
