"""One update: photos are aligned, inverted, learned together with the memories, and a few of them are kept."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from everface.engine.config import EngineConfig, TuneConfig
from everface.engine.errors import NothingToDoError
from everface.engine.generators.lora import LoRA
from everface.engine.generators.protocol import FaceGenerator
from everface.engine.latents.invert import reconstruction_losses
from everface.engine.perception.losses import PreparedTargets
from everface.engine.photos import PreparedBatch, find_photos, prepare_photos
from everface.engine.photos.camera import LABEL_DIM, camera_label, camera_numbers, sample_cameras
from everface.engine.progress import OnProgress
from everface.engine.replay.policies.choose import choose_memories, make_pool
from everface.engine.replay.policies.registry import policy
from everface.engine.replay.policies.spread import spread_of
from everface.engine.replay.store import Commit, Memory, NewMemory, Owner, ReplayStore, StoreState
from everface.engine.session.codes import find_codes
from everface.engine.session.kit import Kit, to_tensor
from everface.engine.session.resume import ResumeFile, fingerprint
from everface.engine.session.values import UpdateReport
from everface.engine.tune.distil import distilled, evenly, joined, replay_of
from everface.engine.tune.learner import AdaptedLearner
from everface.engine.tune.loop import TuneResult, TuneRun, TuningSet, tune

__all__ = ["UpdateContext", "run_update"]

# Of the time that --max-minutes leaves after the photos are prepared, inversion may take this share.
_INVERT_SHARE = 0.4


@dataclass(frozen=True, eq=False)
class UpdateContext:
    """What an update works with."""

    path: Path
    store: ReplayStore
    kit: Kit
    config: EngineConfig
    on_progress: OnProgress
    deadline: float | None


@dataclass(frozen=True, eq=False)
class _Captured:
    """The new photos with all that is measured of them once; ``cameras`` [n, 25], or [0, 25] in 2D."""

    batch: PreparedBatch
    images: NDArray[np.uint8]
    targets: PreparedTargets
    codes: Tensor
    base_losses: Tensor
    key: str
    cameras: NDArray[np.float64]

    @property
    def ws(self) -> NDArray[np.float32]:
        """The W codes [n, d], without the cameras that they carry in 3D."""
        width = self.codes.shape[1] - (self.cameras.shape[1] if len(self.cameras) else 0)
        return np.ascontiguousarray(self.codes[:, :width].numpy())


@dataclass(frozen=True, eq=False)
class _Learned:
    """The tuned model and what it makes of old and new photos."""

    content: bytes
    result: TuneResult
    resumed_at: int
    before: Tensor
    new_losses: Tensor
    old_losses: Tensor
    retuned: bool


def run_update(context: UpdateContext, photos: Sequence[Path]) -> UpdateReport:
    """Runs one update to its commit.

    Raises:
        NothingToDoError: no photo was usable; nothing was changed.
        UsageError: a path does not exist.
        WorkspaceError: it cannot be written, or the budget is too small; nothing was changed.
    """
    start = time.monotonic()
    resume = ResumeFile(context.path, context.store.seal)
    captured = _capture(context, _prepare(context, photos), resume)
    memories = context.store.memories()
    learned = _learn(context, captured, memories, resume)
    model = context.store.models.put(learned.content)
    commit = _decide(context, captured, learned, memories, model)
    report = _report(context, captured, learned, commit, memories, time.monotonic() - start)
    context.store.commit(_with_history(commit, report, context.config))
    resume.remove()
    context.store.models.sweep([model])
    return report


def _prepare(context: UpdateContext, photos: Sequence[Path]) -> PreparedBatch:
    paths = find_photos(photos)
    owner = context.store.owner()
    mean = np.zeros(0, np.float32) if owner is None else owner.total / max(owner.count, 1)

    def likeness(images: NDArray[np.uint8]) -> NDArray[np.floating]:
        return np.asarray(-np.linalg.norm(context.kit.embed(images) - mean, axis=1))

    batch = prepare_photos(
        paths, context.kit.resolution, context.config.photo, models=context.kit.faces,
        owner=None if owner is None else likeness, seen=context.store.seen(), on_progress=context.on_progress,
    )  # fmt: skip
    if not batch.accepted:
        reasons = "; ".join(f"{one.name}: {one.reason}" for one in batch.rejected[:5])
        remedy = "add photos that show the face clearly; each rejection says what to change"
        found = f"none ({reasons or 'no photos'})"
        raise NothingToDoError("photos", expected="at least one usable photo", found=found, remedy=remedy)
    return batch


def _capture(context: UpdateContext, batch: PreparedBatch, resume: ResumeFile) -> _Captured:
    kit, config = context.kit, context.config
    images = np.stack([photo.image for photo in batch.accepted])
    targets = kit.loss.prepare(to_tensor(images))
    state = context.store.state
    key = fingerprint(config.to_json(), str(state.timestamps), state.model, *(one.sha256 for one in batch.accepted))
    found = resume.read(key)
    cameras = np.stack([one.camera for one in batch.accepted]) if kit.is_3d else np.zeros((0, LABEL_DIM))
    if found is not None:
        return _Captured(batch, images, targets, found.codes, found.losses, key, cameras)
    deadline = context.deadline
    if deadline is not None:
        deadline = time.monotonic() + _INVERT_SHARE * max(0.0, deadline - time.monotonic())
    inversion = find_codes(kit, targets, cameras, deadline=deadline, on_progress=context.on_progress)
    resume.write(key, inversion.codes, inversion.losses, None)
    return _Captured(batch, images, targets, inversion.codes, inversion.losses, key, cameras)


def _learn(context: UpdateContext, captured: _Captured, memories: tuple[Memory, ...], resume: ResumeFile) -> _Learned:
    kit, config, state = context.kit, context.config, context.store.state
    model = context.store.models.get(state.model) if state.model else None
    current = kit.generator(model)
    new = TuningSet(captured.codes, captured.targets)
    old = _replay_set(context, memories)
    before = reconstruction_losses(current, kit.loss, new.targets, new.codes)
    found = resume.read(captured.key)
    begun = None if found is None else found.tune
    run = TuneRun(
        seed=config.seed + state.timestamps, deadline=context.deadline, resume=begun, on_progress=context.on_progress,
        checkpoint=lambda tuned: resume.write(captured.key, captured.codes, captured.base_losses, tuned),
    )  # fmt: skip
    retuned = starts_anew(config, state)
    subject = _Subject.of(kit, None if retuned else model, current)
    if retuned and old is not None:
        result = tune(subject.learner, kit.loss, joined(new, old), None, _for_all(config.tune, state), run)
    else:
        # The pictures are of the model before this update, also where an interrupted one goes on.
        pictures = None if retuned else distilled(current, kit.loss, _codes_to_distil(context))
        result = tune(subject.learner, kit.loss, new, replay_of(old, pictures), config.tune, run)
    content = subject.content()
    # Measured on the stored weights: what is reported is what a later open will see.
    stored = kit.generator(content)
    after = reconstruction_losses(stored, kit.loss, new.targets, new.codes)
    kept = torch.zeros(0) if old is None else reconstruction_losses(stored, kit.loss, old.targets, old.codes)
    return _Learned(content, result, 0 if begun is None else begun.step, before, after, kept, retuned)


@dataclass(frozen=True, eq=False)
class _Subject:
    """What is tuned, whole or by a LoRA, and the model file that it becomes."""

    kit: Kit
    generator: FaceGenerator
    lora: LoRA | None

    @classmethod
    def of(cls, kit: Kit, model: bytes | None, current: FaceGenerator) -> _Subject:
        """To go on from a model, the current one, or from the base for None."""
        if kit.config.tune.lora_rank:
            return cls(kit, kit.source.generator, kit.lora(model))
        return cls(kit, kit.fresh() if model is None else current, None)

    @property
    def learner(self) -> FaceGenerator | AdaptedLearner:
        """What the tuning loop takes."""
        if self.lora is not None:
            return AdaptedLearner(self.generator, self.lora)
        return self.generator

    def content(self) -> bytes:
        """The whole generator, or the factors of the LoRA."""
        sha256, kind = self.kit.source.sha256, {"kind": "personal"}
        if self.lora is not None:
            return self.lora.to_bytes(sha256, kind)
        return self.generator.to_bytes({"base_sha256": sha256} | kind)


def starts_anew(config: EngineConfig, state: StoreState) -> bool:
    """Whether the next update tunes the base on everything at hand, instead of the current model on what is new.

    So does the upper bound always, and every policy once a photo was forgotten that the current model had learned.
    """
    return config.policy == "upper" or bool(state.forgotten)


def _codes_to_distil(context: UpdateContext) -> NDArray[np.float32]:
    config, anchors = context.config, [codes for _, codes in context.store.anchors()]
    ws = evenly(anchors, config.tune.distil_codes, np.random.default_rng([config.seed, 4]))
    # A head of the previous model can be looked at from anywhere.
    cameras = sample_cameras(len(ws), np.random.default_rng([config.seed, 5])) if len(ws) else np.zeros((0, LABEL_DIM))
    return context.kit.codes(torch.from_numpy(ws), cameras).numpy() if len(ws) else ws


def _for_all(config: TuneConfig, state: StoreState) -> TuneConfig:
    """Every image in turn, with as many updates in all as the timestamps so far had."""
    return replace(
        config,
        new_per_step=config.new_per_step + config.replay_per_step,
        max_steps=config.max_steps * (state.timestamps + 1),
    )


def _replay_set(context: UpdateContext, memories: tuple[Memory, ...]) -> TuningSet | None:
    if not memories:
        return None
    images = np.stack(context.store.read_images([one.id for one in memories]))
    ws = torch.from_numpy(np.stack([one.w for one in memories]))
    cameras = [camera_label(one.view) for one in memories] if context.kit.is_3d else []
    return TuningSet(context.kit.codes(ws, np.array(cameras)), context.kit.loss.prepare(to_tensor(images)))


def _decide(
    context: UpdateContext, captured: _Captured, learned: _Learned, memories: tuple[Memory, ...], model: str
) -> Commit:
    """Chooses which of the old and new photos to keep, and gathers what the transaction writes."""
    store, config = context.store, context.config
    timestamp = store.state.timestamps
    codes, views = captured.ws, [camera_numbers(one) for one in captured.cameras]
    spread = spread_of(codes)
    new = [
        NewMemory(
            image=photo.image, timestamp=timestamp, w=codes[i], spread=float(spread[i]),
            loss=_as_stored(learned.new_losses[i]), dhash=photo.dhash, sha256=photo.sha256,
            reason=f"{config.policy}, update {timestamp}", view=views[i] if views else np.zeros(0, np.float32),
        )
        for i, photo in enumerate(captured.batch.accepted)
    ]  # fmt: skip
    pool = make_pool(memories, new, store.cost(new))
    rng = np.random.default_rng([config.seed, timestamp, 1])
    chosen = choose_memories(pool, policy(config.policy), store.room_for_memories(), rng).tolist()
    return Commit(
        model=model,
        timestamp=timestamp,
        keep=tuple(memories[i].id for i in chosen if i < len(memories)),
        add=tuple(new[i - len(memories)] for i in chosen if i >= len(memories)),
        anchors=codes,
        seen=tuple((photo.sha256, photo.dhash) for photo in captured.batch.accepted),
        owner=_enrol(context, captured.images),
        losses={one.id: _as_stored(loss) for one, loss in zip(memories, learned.old_losses, strict=True)},
        retuned=learned.retuned,
    )


def _as_stored(loss: Tensor) -> float:
    """Rounded as the store rounds, so that nothing changes when the workspace is opened again."""
    return float(loss.half())


def _enrol(context: UpdateContext, images: NDArray[np.uint8]) -> Owner:
    found = context.kit.embed(images)
    owner = context.store.owner()
    total = found.sum(axis=0) + (0 if owner is None else owner.total)
    return Owner(total.astype(np.float32), len(found) + (0 if owner is None else owner.count))


def _report(
    context: UpdateContext, captured: _Captured, learned: _Learned, commit: Commit, memories: tuple[Memory, ...],
    seconds: float,
) -> UpdateReport:  # fmt: skip
    remembered = {commit.timestamp: float(learned.new_losses.mean())}
    for timestamp in sorted({one.timestamp for one in memories}):
        losses = [commit.losses[one.id] for one in memories if one.timestamp == timestamp]
        remembered[timestamp] = float(np.mean(losses))
    return UpdateReport(
        timestamp=commit.timestamp, accepted=len(captured.batch.accepted), rejected=captured.batch.rejected,
        kept=len(commit.keep) + len(commit.add), evicted=tuple(one.id for one in memories if one.id not in commit.keep),
        steps=learned.result.steps, stopped=learned.result.stopped, resumed_at=learned.resumed_at,
        loss_base=float(captured.base_losses.mean()), loss_before=float(learned.before.mean()),
        loss_after=float(learned.new_losses.mean()), remembered=dict(sorted(remembered.items())),
        seconds=round(seconds, 2), model=commit.model,
    )  # fmt: skip


def _with_history(commit: Commit, report: UpdateReport, config: EngineConfig) -> Commit:
    """The commit with a summary of itself, short since history counts towards the budget."""
    reasons = Counter(one.reason for one in report.rejected)
    entry = {
        "accepted": report.accepted, "rejected": dict(sorted(reasons.items())), "kept": report.kept,
        "evicted": len(report.evicted), "steps": report.steps, "stopped": report.stopped, "policy": config.policy,
        "seconds": report.seconds, "base": round(report.loss_base, 4), "before": round(report.loss_before, 4),
        "after": round(report.loss_after, 4),
        "remembered": {str(one): round(loss, 4) for one, loss in report.remembered.items()},
    }  # fmt: skip
    return replace(commit, history=entry)
