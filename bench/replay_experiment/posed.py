"""One person in 3D: every method over one timeline, each photo from its own camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from everface.bench.protocol import UPPER, MethodResult, ProtocolConfig, run_protocol
from everface.bench.replay_experiment.people import Person
from everface.bench.replay_experiment.timeline import Plan, appearance, make_timeline
from everface.bench.sequence import Embed
from everface.engine.config import InvertConfig, PhotoConfig, TuneConfig
from everface.engine.errors import NothingToDoError
from everface.engine.learn.backend import Backend
from everface.engine.metrics.forgetting import ForgettingSummary
from everface.engine.perception.perceptual import PerceptualDistance
from everface.engine.photos import FaceModels, prepare_photos
from everface.engine.progress import OnProgress, ignore_progress

METHODS = ("lower", "er-rand", "er-hull", "er-hull-exact", "upper")
BASE = "base"
"""The untuned base, judged beside the methods."""
METRICS_3D = {"reconstruction": ("MobileNetV2 distance + MSE", False), "synthesis identity": ("cosine", True)}
"""Name to unit, and whether higher is better."""
Scores3D = dict[str, dict[str, float]]
"""Method to ``"<metric> AIP"``, ``"<metric> Forgetting"`` and ``"processor seconds"``."""


@dataclass(frozen=True)
class Settings3D:
    """How much is run.

    Attributes:
        plan: timestamps, and photos to learn and to judge by in each.
        photos: of the album that are looked at.
        invert: search of W codes under the base.
        tune: of each timestamp.
        evaluate: W+ search of the held-out photos.
        samples: P0 samples for each judgement of identity.
        seed: of everything.
        methods: those of ``METHODS`` that run.
    """

    plan: Plan = field(default_factory=lambda: Plan(3, 6, 3))
    photos: int = 36
    invert: InvertConfig = field(default_factory=lambda: InvertConfig(20, 0.1, 9))
    tune: TuneConfig = field(default_factory=lambda: TuneConfig(max_steps=40, learning_rate=5e-3, settle_window=0))
    evaluate: InvertConfig = field(default_factory=lambda: InvertConfig(6, 0.05, 9))
    samples: int = 8
    seed: int = 0
    methods: tuple[str, ...] = METHODS


def measure(
    backend: Backend,
    name: str,
    photos: Sequence[Path],
    settings: Settings3D,
    embed: Embed | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Scores3D:
    """All methods on one person's photos.

    Args:
        backend: of a 3D base.
        name: of the person.
        photos: files.
        settings: how much.
        embed: judge of identity; the packaged embedder by default.
        on_progress: hears ``"photos"``, ``"invert"``, ``"tune"`` and ``"evaluate"``.

    Raises:
        NothingToDoError: too few usable photos.
    """
    accepted = prepare_photos(
        list(photos)[: settings.photos], backend.shape.resolution, PhotoConfig(), models=FaceModels.load(),
        on_progress=on_progress,
    ).accepted  # fmt: skip
    plan = settings.plan
    if len(accepted) < plan.timestamps * plan.size:
        expected = f"{plan.timestamps * plan.size} usable photos"
        raise NothingToDoError("photos", expected=expected, found=str(len(accepted)), remedy="use a larger album")
    person = Person(name, np.stack([one.image for one in accepted]), np.array([(p.yaw, p.pitch) for p in accepted]), 0)
    timeline = make_timeline(person, appearance(person, PerceptualDistance.load()), plan, settings.seed)
    cameras = np.stack([photo.camera for photo in accepted])[:, : backend.shape.camera_dim]
    batches = [replace(batch, cameras=cameras[row]) for batch, row in zip(timeline.batches, timeline.rows, strict=True)]
    config = ProtocolConfig(
        invert=settings.invert, tune=settings.tune, evaluate=settings.evaluate, samples=settings.samples,
        seed=settings.seed,
    )  # fmt: skip
    result = run_protocol(backend, batches, settings.methods, config, embed, on_progress)
    base = (result.base.reconstruction, result.base.identity)
    scores = {BASE: {f"{metric} AIP": float(one.mean()) for metric, one in zip(METRICS_3D, base, strict=True)}}
    return scores | {method.name: _scores(method) for method in result.methods}


def _scores(method: MethodResult) -> dict[str, float]:
    scores = {"processor seconds": method.processor_seconds}
    summaries: tuple[ForgettingSummary, ...] = (method.reconstruction_summary(), method.identity_summary())
    for metric, summary in zip(METRICS_3D, summaries, strict=True):
        scores[f"{metric} AIP"] = summary.incremental_performance
        if method.name != UPPER:
            scores[f"{metric} Forgetting"] = summary.forgetting
    return scores
