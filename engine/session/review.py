"""What the report of a workspace shows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from everface.engine.latents.hull_distance import distance_to_others
from everface.engine.photos.camera import camera_label
from everface.engine.replay.store import Memory
from everface.engine.report import data as page
from everface.engine.session.kit import to_images, to_tensor

if TYPE_CHECKING:
    from everface.engine.session.engine import Engine

__all__ = ["review"]

METRIC = "MobileNetV2 distance + MSE, lower is better"
_MOST_SHOWN = 24
_POLICY_REASONS = {
    "er-hull": "It keeps the photos whose convex hull in W lies nearest to all the others of their timestamps "
    "(the paper's ER-Hull).",
    "er-rand": "It keeps random photos, evenly over the timestamps (the paper's ER-Rand).",
    "lower": "It keeps nothing: naive fine-tuning, to compare with.",
    "upper": "It keeps everything that fits, and tunes from the base again at every update.",
}


def review(engine: Engine) -> page.ReportData:
    """Gathers a workspace's timeline, memories, reconstructions, samples, forgetting matrix and numbers."""
    status, history, memories = engine.status(), engine.store.history(), engine.store.memories()
    images = engine.store.read_images([one.id for one in memories])
    first = status.timestamps - len(history)
    return page.ReportData(
        title=f"{engine.path.stem}: what everface remembers",
        subtitle=f"{status.timestamps} updates, {len(memories)} photos kept in {status.used_bytes / 1024:.0f} KiB",
        summary=_summary(engine, history),
        timeline=tuple(_timestamp(first + i, entry) for i, entry in enumerate(history)),
        policy=status.policy,
        policy_reason=_POLICY_REASONS.get(status.policy, ""),
        memories=tuple(_memories(memories, images)),
        budget_bytes=status.budget_bytes,
        used_bytes=status.used_bytes,
        reconstructions=tuple(_reconstructions(engine, memories, images)),
        reconstruction_metric=METRIC,
        samples=_samples(engine),
        matrices=_matrix(history, first),
        settings=tuple(_flat(dataclasses.asdict(engine.config))),
        footer=f"model {status.model[:12] or 'none yet'}, base {status.base}",
    )


def _summary(engine: Engine, history: tuple[dict[str, Any], ...]) -> tuple[page.Number, ...]:
    status = engine.status()
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


def _timestamp(index: int, entry: dict[str, Any]) -> page.Timestamp:
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
    reach = distance_to_others(np.array([one.w for one in memories], np.float64)) if len(memories) > 1 else None
    found = []
    for i, one in enumerate(memories):
        reason = one.reason if reach is None else f"{one.reason}; {reach[i]:.1f} from the hull of the others"
        found.append(page.Memory(images[i], one.timestamp, one.bytes, reason, id=one.id))
    return found


@torch.no_grad()
def _reconstructions(
    engine: Engine, memories: tuple[Memory, ...], images: list[page.Image]
) -> list[page.Reconstruction]:
    if not memories:
        return []
    # Spread over the memories, which are in the order of time.
    shown = np.unique(np.linspace(0, len(memories) - 1, min(_MOST_SHOWN, len(memories))).round().astype(int))
    ws = torch.from_numpy(np.stack([memories[i].w for i in shown]))
    cameras = [camera_label(memories[i].view) for i in shown] if engine.kit.is_3d else []
    codes = engine.kit.codes(ws, np.array(cameras))
    targets = engine.kit.loss.prepare(to_tensor(np.stack([images[i] for i in shown])))
    base = engine.kit.source.generator.render(codes)
    now = engine.model.render(codes)
    losses = [engine.kit.loss(pictures, targets).tolist() for pictures in (base, now)]
    before, after = to_images(base), to_images(now)
    return [
        page.Reconstruction(
            images[i], before[row], after[row], f"update {memories[i].timestamp}", losses[0][row], losses[1][row]
        )
        for row, i in enumerate(shown)
    ]


def _samples(engine: Engine) -> tuple[page.SampleGrid, ...]:
    if not engine.store.state.timestamps:
        return ()
    return (page.SampleGrid("New pictures from the personal model", tuple(engine.generate(24, seed=0))),)


def _matrix(history: tuple[dict[str, Any], ...], first: int) -> tuple[page.ForgettingMatrix, ...]:
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
    found: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((prefix + name, str(value)))
    return found
