"""One update: photos are aligned, learned with the memory (``everface.engine.learn.timestep``), committed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from everface.engine.config import EngineConfig
from everface.engine.latents.model import join_camera
from everface.engine.learn.timestep import learn
from everface.engine.learn.values import LearnRun, LearnSettings, Memory, NewPhotos, Step
from everface.engine.photos import FaceModels, PreparedBatch, find_photos, prepare_photos
from everface.engine.photos.camera import camera_label, camera_numbers
from everface.engine.progress import OnProgress
from everface.engine.replay import store as replay
from everface.engine.session.person import Person
from everface.engine.session.resume import ResumeFile, fingerprint
from everface.engine.session.values import AcceptedPhoto, UpdateFailedError, UpdateReport


@dataclass(frozen=True, eq=False)
class UpdateRun:
    """Where an update writes, and how it behaves.

    Attributes:
        path: the workspace.
        store: open for writing.
        on_progress: hears the stages ``"photos"``, ``"invert"`` and ``"tune"``.
        deadline: time.monotonic() by which to end, None for none.
    """

    path: Path
    store: replay.ReplayStore
    on_progress: OnProgress
    deadline: float | None


def update(person: Person, faces: FaceModels, photos: Sequence[Path], run: UpdateRun) -> UpdateReport:
    """Runs one update to its commit.

    Raises:
        UpdateFailedError: no photo was usable, or learning did not make the model better; nothing was changed.
        UsageError: a path does not exist.
        WorkspaceError: it cannot be written, or the budget is too small; nothing was changed.
    """
    began = time.monotonic()
    batch = _prepared(person, faces, photos, run)
    state, memories = run.store.state, run.store.memories()
    hashes = (photo.sha256 for photo in batch.accepted)
    key = fingerprint(person.config.to_json(), str(state.timestamps), state.model, *hashes)
    resume = ResumeFile(run.path, run.store.seal, key)
    config = person.config
    settings = LearnSettings(
        policy=config.policy, tune=config.tune, invert=config.invert, seed=config.seed,
        room_bytes=state.memory_bytes, anew=starts_anew(config, state),
    )  # fmt: skip
    step = learn(
        person.backend, person.content, _new_photos(person, batch, run.store), _memory(person, memories, run.store),
        settings, LearnRun(run.deadline, resume.read(), resume.write, run.on_progress),
    )  # fmt: skip
    _require_better(step, batch)
    model = run.store.models.put(step.model)
    kept = set(step.kept_old.tolist())
    evicted = tuple(memory.id for i, memory in enumerate(memories) if i not in kept)
    report = UpdateReport(
        timestamp=state.timestamps, accepted=_names(batch), rejected=batch.rejected,
        kept=len(step.kept_old) + len(step.kept_new), evicted=evicted, steps=step.tuning.steps,
        stopped=step.tuning.stopped, resumed_at=step.resumed_at, base=_mean(step.anchors.losses),
        before=_mean(step.before), after=_mean(step.after), remembered=_remembered(step, memories, state.timestamps),
        seconds=round(time.monotonic() - began, 2), model=model,
    )  # fmt: skip
    run.store.commit(_commit(person, batch, step, memories, report))
    resume.remove()
    run.store.models.sweep([model])
    return report


def starts_anew(config: EngineConfig, state: replay.StoreState) -> bool:
    """Whether the next update tunes the base on everything at hand, instead of the current model on what is new.

    So does the upper bound always, and every policy once a photo was forgotten that the current model had learned.
    """
    return config.policy == "upper" or bool(state.forgotten)


def _prepared(person: Person, faces: FaceModels, photos: Sequence[Path], run: UpdateRun) -> PreparedBatch:
    batch = prepare_photos(
        find_photos(photos), person.backend.shape.resolution, person.config.photo, models=faces,
        owner=None if person.owner is None else person.likeness, seen=run.store.seen(), on_progress=run.on_progress,
    )  # fmt: skip
    if not batch.accepted:
        reasons = "; ".join(f"{rejection.name}: {rejection.reason}" for rejection in batch.rejected[:5])
        remedy = "add photos that show the face clearly; each rejection says what to change"
        raise UpdateFailedError(
            "photos", expected="at least one usable photo", found=f"none ({reasons or 'no photos'})", remedy=remedy,
            rejected=batch.rejected,
        )  # fmt: skip
    return batch


def _new_photos(person: Person, batch: PreparedBatch, store: replay.ReplayStore) -> NewPhotos:
    images = np.stack([photo.image for photo in batch.accepted])
    cameras = person.camera(np.stack([photo.camera for photo in batch.accepted]))
    # What a photo takes depends on its picture and on the widths of the rest.
    codes = np.zeros((len(images), person.backend.shape.w_dim), np.float32)
    drafts = _drafts(batch, codes, cameras, np.full((len(images), 2), np.nan), store.state.timestamps, "")
    return NewPhotos(images, cameras, np.array(store.cost(drafts), np.int64))


def _drafts(
    batch: PreparedBatch, codes: np.ndarray, cameras: np.ndarray, numbers: np.ndarray, timestamp: int, reason: str
) -> list[replay.NewMemory]:
    """The batch's photos as the store takes them; ``numbers`` [n, 2] are spread and loss."""
    none = np.zeros(0, np.float32)
    return [
        replay.NewMemory(
            image=photo.image, timestamp=timestamp, w=codes[i], spread=float(numbers[i, 0]), loss=float(numbers[i, 1]),
            dhash=photo.dhash, sha256=photo.sha256, reason=reason,
            view=camera_numbers(photo.camera) if cameras.shape[1] else none,
        )
        for i, photo in enumerate(batch.accepted)
    ]  # fmt: skip


def _memory(person: Person, memories: tuple[replay.Memory, ...], store: replay.ReplayStore) -> Memory:
    timestamp = store.state.timestamps
    if not memories:
        return Memory.empty(person.backend.shape, timestamp, person.anchors)
    styles = np.stack([memory.w for memory in memories])
    return Memory(
        timestamp=timestamp,
        images=np.stack(store.read_images([memory.id for memory in memories])),
        codes=join_camera(styles, cameras_of(person, memories)),
        timestamps=np.array([memory.timestamp for memory in memories], np.int64),
        bytes=np.array([memory.bytes for memory in memories], np.int64),
        spread=np.array([memory.spread for memory in memories], np.float64),
        losses=np.array([memory.loss for memory in memories], np.float32),
        anchors=person.anchors,
    )


def cameras_of(person: Person, memories: Sequence[replay.Memory]) -> np.ndarray:
    """What the codes of kept photos carry of their cameras: [m, camera_dim]."""
    width = person.backend.shape.camera_dim
    return np.array([camera_label(memory.view)[:width] for memory in memories if width]).reshape(len(memories), width)


def _require_better(step: Step, batch: PreparedBatch) -> None:
    """A model tuned anew is held against the base that it comes from, any other against the model before."""
    before, after = _mean(step.anchors.losses if step.anew else step.before), _mean(step.after)
    if after < before:
        return
    stopped = "worse" if step.tuning.steps else step.tuning.stopped
    remedy = "use a smaller tune.learning_rate" if step.tuning.steps else "give it more time with --max-minutes"
    raise UpdateFailedError(
        "update", expected=f"a loss of the new photos below {before:.4f}", found=f"{after:.4f}, so nothing was learned",
        remedy=remedy, accepted=_names(batch), rejected=batch.rejected, before=before, after=after, stopped=stopped,
    )  # fmt: skip


def _commit(
    person: Person, batch: PreparedBatch, step: Step, memories: tuple[replay.Memory, ...], report: UpdateReport
) -> replay.Commit:
    styles = step.anchors.codes[:, : person.backend.shape.w_dim]
    cameras = step.anchors.codes[:, person.backend.shape.w_dim :]
    # Rounded as the store rounds, so that nothing changes when the workspace is opened again.
    numbers = np.stack([step.spread, step.after.astype(np.float16)], axis=1)
    drafts = _drafts(
        batch, styles, cameras, numbers, report.timestamp, f"{person.config.policy}, update {report.timestamp}"
    )
    losses = step.remembered.astype(np.float16).tolist()
    return replay.Commit(
        model=report.model,
        timestamp=report.timestamp,
        keep=tuple(memories[i].id for i in step.kept_old),
        add=tuple(drafts[i] for i in step.kept_new),
        anchors=np.ascontiguousarray(styles),
        seen=tuple((photo.sha256, photo.dhash) for photo in batch.accepted),
        owner=_enrolled(person, batch),
        losses={memory.id: loss for memory, loss in zip(memories, losses, strict=True)},
        retuned=step.anew,
        history=_summary(report, person.config.policy),
    )


def _enrolled(person: Person, batch: PreparedBatch) -> replay.Owner:
    embeddings = person.backend.embed(np.stack([photo.image for photo in batch.accepted]))
    known, count = (0, 0) if person.owner is None else (person.owner.total, person.owner.count)
    return replay.Owner((embeddings.sum(axis=0) + known).astype(np.float32), len(embeddings) + count)


def _remembered(step: Step, memories: tuple[replay.Memory, ...], timestamp: int) -> dict[int, float]:
    """Mean loss over the photos of each timestamp that were at hand."""
    means = {timestamp: _mean(step.after)}
    of = np.array([memory.timestamp for memory in memories], np.int64)
    means |= {int(t): _mean(step.remembered[of == t].astype(np.float16)) for t in np.unique(of)}
    return dict(sorted(means.items()))


def _summary(report: UpdateReport, policy: str) -> dict[str, Any]:
    """A short one, since history counts towards the budget."""
    reasons = Counter(rejection.reason for rejection in report.rejected)
    return {
        "accepted": len(report.accepted), "rejected": dict(sorted(reasons.items())), "kept": report.kept,
        "evicted": len(report.evicted), "steps": report.steps, "stopped": report.stopped, "policy": policy,
        "seconds": report.seconds, "base": round(report.base, 4), "before": round(report.before, 4),
        "after": round(report.after, 4),
        "remembered": {str(timestamp): round(loss, 4) for timestamp, loss in report.remembered.items()},
    }  # fmt: skip


def _names(batch: PreparedBatch) -> tuple[AcceptedPhoto, ...]:
    return tuple(AcceptedPhoto(photo.name) for photo in batch.accepted)


def _mean(losses: np.ndarray) -> float:
    return float(np.mean(losses, dtype=np.float64))
