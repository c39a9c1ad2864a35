"""What the report of a workspace shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from everface.engine.latents.hull_distance import distance_to_others
from everface.engine.latents.model import join_camera
from everface.engine.pictures import to_uint8
from everface.engine.replay.store import Memory, ReplayStore
from everface.engine.report import data as page
from everface.engine.session.person import Person
from everface.engine.session.update import cameras_of
from everface.engine.session.values import Status

METRIC = "MobileNetV2 distance + MSE, lower is better"
_MOST_SHOWN = 24
_POLICY_REASONS = {
    "er-hull": "It keeps the photos whose convex hull in W lies nearest to all the others of their timestamps "
    "(the paper's ER-Hull).",
    "er-rand": "It keeps random photos, evenly over the timestamps (the paper's ER-Rand).",
    "lower": "It keeps nothing: naive fine-tuning, to compare with.",
    "upper": "It keeps everything that fits, and tunes from the base again at every update.",
}


def review(person: Person, status: Status, store: ReplayStore) -> page.ReportData:
    """Gathers a workspace's timeline, memories, reconstructions, samples, forgetting matrix and numbers."""
    history, memories = store.state.history, store.memories()
    images = store.read_images([memory.id for memory in memories])
    first = status.timestamps - len(history)
    return page.ReportData(
        title=f"{Path(person.name).stem}: what everface remembers",
        subtitle=f"{status.timestamps} updates, {len(memories)} photos kept in {status.used_bytes / 1024:.0f} KiB",
        summary=_summary(status, history),
        timeline=tuple(_timestamp(first + i, entry) for i, entry in enumerate(history)),
        policy=status.policy,
        policy_reason=_POLICY_REASONS.get(status.policy, ""),
        memories=tuple(_memories(memories, images)),
        budget_bytes=status.budget_bytes,
        used_bytes=status.used_bytes,
        reconstructions=tuple(_reconstructions(person, memories, images)),
        reconstruction_metric=METRIC,
        samples=_samples(person, status),
        matrices=_matrix(history, first),
        settings=tuple(_flat(dataclasses.asdict(person.config))),
        footer=f"model {status.model[:12] or 'none yet'}, base {status.base}",
    )


def _summary(status: Status, history: tuple[Mapping[str, Any], ...]) -> tuple[page.Number, ...]:
    numbers = [
        page.Number("Updates", str(status.timestamps)),
        page.Number("Photos kept", str(len(status.memories)), f"{status.bytes_per_memory:.0f} bytes each"),
        page.Number(
            "Store",
            f"{status.file_bytes / 1024:.0f} KiB",
            f"of at most {status.budget_bytes / 1024:.0f} KiB",
        ),
    ]
    if history:
        last = history[-1]
        numbers.append(
            page.Number("Reconstruction loss", f"{last['after']:.3f}", f"newest photos; base {last['base']:.3f}")
        )
    return tuple(numbers)


def _timestamp(index: int, entry: Mapping[str, Any]) -> page.Timestamp:
    return page.Timestamp(
        index=index,
        accepted=int(entry["accepted"]),
        rejected=tuple(
            page.RejectedPhoto(f"{count} photo{'s' if count > 1 else ''}", reason)
            for reason, count in entry["rejected"].items()
        ),
        minutes=float(entry["seconds"]) / 60,
        loss_before=float(entry["before"]),
        loss_after=float(entry["after"]),
        note=f"{entry['steps']} steps, stopped: {entry['stopped']}; kept {entry['kept']}, evicted {entry['evicted']}",
    )


def _memories(memories: tuple[Memory, ...], images: list[page.Image]) -> list[page.Memory]:
    reach = distance_to_others(np.array([memory.w for memory in memories], np.float64)) if len(memories) > 1 else None
    shown = []
    for i, memory in enumerate(memories):
        reason = memory.reason if reach is None else f"{memory.reason}; {reach[i]:.1f} from the hull of the others"
        shown.append(page.Memory(images[i], memory.timestamp, memory.bytes, reason, id=memory.id))
    return shown


def _reconstructions(
    person: Person, memories: tuple[Memory, ...], images: list[page.Image]
) -> list[page.Reconstruction]:
    if not memories:
        return []
    # Spread over the memories, which are in the order of time.
    shown = np.unique(np.linspace(0, len(memories) - 1, min(_MOST_SHOWN, len(memories))).round().astype(int))
    chosen = [memories[i] for i in shown]
    codes = join_camera(np.stack([memory.w for memory in chosen]), cameras_of(person, chosen))
    targets = person.backend.prepare(np.stack([images[i] for i in shown]))
    base, now = (
        (model.render(codes), model.losses(codes, targets)) for model in (person.backend.model(None), person.model)
    )
    before, after = to_uint8(base[0]), to_uint8(now[0])
    return [
        page.Reconstruction(
            images[i], before[row], after[row], f"update {memories[i].timestamp}", float(base[1][row]),
            float(now[1][row]),
        )
        for row, i in enumerate(shown)
    ]  # fmt: skip


def _samples(person: Person, status: Status) -> tuple[page.SampleGrid, ...]:
    if not status.timestamps:
        return ()
    return (page.SampleGrid("New pictures from the personal model", tuple(person.generate(24, 0, None))),)


def _matrix(history: tuple[Mapping[str, Any], ...], first: int) -> tuple[page.ForgettingMatrix, ...]:
    """Loss of model t on what was at hand of timestamp k: all its photos at t = k, its memories later."""
    size = len(history)
    if not size:
        return ()
    values = np.full((size, size), np.nan)
    for row, entry in enumerate(history):
        for timestamp, loss in entry["remembered"].items():
            if int(timestamp) >= first:
                values[row, int(timestamp) - first] = float(loss)
    metric = "MobileNetV2 distance + MSE on the photos still at hand"
    return (page.ForgettingMatrix("This workspace", metric, False, values),)


def _flat(settings: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, str(value)))
    return rows
