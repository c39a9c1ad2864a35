"""One person in 3D: every method over one timeline, each photo from its own camera."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from everface.bench.buffer import Buffer, Keeping
from everface.bench.protocol import Embed
from everface.bench.replay_experiment.people import Person
from everface.bench.replay_experiment.timeline import Plan, appearance, make_timeline
from everface.engine.config import InvertConfig, TuneConfig
from everface.engine.errors import NothingToDoError
from everface.engine.generators.eg3d.codes import split_camera
from everface.engine.generators.protocol import FaceGenerator
from everface.engine.latents.invert import invert, reconstruction_losses
from everface.engine.latents.sample import sample_p0
from everface.engine.metrics.forgetting import forgetting_summary
from everface.engine.metrics.identity import mean_best_cosine
from everface.engine.perception.losses import PreparedTargets
from everface.engine.perception.perceptual import PerceptualDistance
from everface.engine.photos import prepare_photos
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress
from everface.engine.replay.policies.spread import spread_of
from everface.engine.session.kit import Kit, to_images, to_tensor
from everface.engine.tune.loop import TuneRun, TuningSet, tune

__all__ = ["BASE", "METHODS", "METRICS_3D", "Scores3D", "Settings3D", "measure"]

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
        methods: those of :data:`METHODS` that run.
    """

    plan: Plan = field(default_factory=lambda: Plan(3, 6, 3))
    photos: int = 36
    invert: InvertConfig = field(default_factory=lambda: InvertConfig(20, 0.1, 9))
    tune: TuneConfig = field(default_factory=lambda: TuneConfig(max_steps=40, learning_rate=5e-3, settle_window=0))
    evaluate: InvertConfig = field(default_factory=lambda: InvertConfig(6, 0.05, 9))
    samples: int = 8
    seed: int = 0
    methods: tuple[str, ...] = METHODS


@dataclass(frozen=True, eq=False)
class _Timestamp:
    train: TuningSet
    held_out: TuningSet
    images: NDArray[np.uint8]
    references: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Lab:
    kit: Kit
    sets: tuple[_Timestamp, ...]
    settings: Settings3D
    embed: Embed
    reporter: ProgressReporter

    def losses(self, model: FaceGenerator, images: TuningSet) -> torch.Tensor:
        return reconstruction_losses(model, self.kit.loss, images.targets, images.codes)

    def judge(self, model: FaceGenerator, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Loss of the held-out photos after a W+ search, and identity of samples, for the first timestamps."""
        found = []
        for k, one in enumerate(self.sets[:count]):
            codes = one.held_out.codes[:, None].expand(-1, model.num_ws, -1)
            inversion = invert(model, self.kit.loss, one.held_out.targets, codes, self.settings.evaluate)
            made = self._samples(model, k)
            identity = mean_best_cosine(self.embed(made), one.references)
            found.append((float(inversion.losses.mean()), identity))
            self.reporter.advance()
        pairs = np.array(found)
        return pairs[:, 0], pairs[:, 1]

    @torch.no_grad()
    def _samples(self, model: FaceGenerator, timestamp: int) -> NDArray[np.uint8]:
        """P0 samples of the timestamp's anchors, from the cameras of its held-out photos in turn."""
        one = self.sets[timestamp]
        ws, _ = split_camera(one.train.codes)
        drawn = sample_p0(ws.numpy(), self.settings.samples, np.random.default_rng([self.settings.seed, timestamp, 2]))
        _, cameras = split_camera(one.held_out.codes)
        turn = torch.arange(len(drawn)) % len(cameras)
        return to_images(model.render(torch.cat([torch.from_numpy(drawn), cameras[turn]], dim=1)))

    def tuned(self, model: FaceGenerator, new: TuningSet, old: TuningSet | None, t: int, config: TuneConfig) -> None:
        tune(model, self.kit.loss, new, old, config, TuneRun(seed=self.settings.seed + t))

    def method(self, name: str, first: FaceGenerator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Matrices [T, T] of loss and identity: model t (row) on timestamp k."""
        count, config = len(self.sets), self.settings.tune
        matrices = np.full((2, count, count), np.nan)
        if name == "upper":
            model = self.kit.fresh()
            codes = torch.cat([one.train.codes for one in self.sets])
            both = PreparedTargets.join(*(one.train.targets for one in self.sets))
            more = replace(config, new_per_step=4, replay_per_step=0, max_steps=count * config.max_steps)
            self.tuned(model, TuningSet(codes, both), None, 0, more)
            matrices[:, -1] = self.judge(model, count)
            return matrices[0], matrices[1]
        model, buffer = copy.deepcopy(first), Buffer(name, Keeping(), self.settings.seed)
        cameras: dict[tuple[int, int], torch.Tensor] = {}
        for t, one in enumerate(self.sets):
            ws, c = split_camera(one.train.codes)
            cameras |= {(t, i): c[i] for i in range(len(c))}
            if t:
                old = buffer.replay(self.kit.loss)
                if old is not None:
                    seen = torch.stack([cameras[origin] for origin in buffer.origins()])
                    old = TuningSet(torch.cat([old.codes, seen], dim=1), old.targets)
                self.tuned(model, one.train, old, t, config)
            losses = self.losses(model, one.train).numpy()
            buffer.take(t, one.images, ws.numpy(), spread_of(ws.numpy()), losses)
            matrices[:, t, : t + 1] = self.judge(model, t + 1)
        return matrices[0], matrices[1]


def measure(
    kit: Kit,
    name: str,
    photos: Sequence[Path],
    settings: Settings3D,
    embed: Embed | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Scores3D:
    """All methods on one person's photos.

    Args:
        kit: networks of a 3D configuration.
        name: of the person.
        photos: files.
        settings: how much.
        embed: judge of identity; the packaged embedder by default.
        on_progress: hears ``"photos"`` and ``"evaluate"``.

    Raises:
        NothingToDoError: too few usable photos.
    """
    embed = embed or kit.embed
    accepted = prepare_photos(
        list(photos)[: settings.photos], kit.resolution, kit.config.photo, models=kit.faces, on_progress=on_progress
    ).accepted
    plan = settings.plan
    if len(accepted) < plan.timestamps * plan.size:
        expected = f"{plan.timestamps * plan.size} usable photos"
        raise NothingToDoError("photos", expected=expected, found=str(len(accepted)), remedy="use a larger album")
    person = Person(name, np.stack([one.image for one in accepted]), np.array([(p.yaw, p.pitch) for p in accepted]), 0)
    timeline = make_timeline(person, appearance(person, PerceptualDistance.load()), plan, settings.seed)
    sets = []
    for row in timeline.rows:
        images = person.images[row]
        targets = kit.loss.prepare(to_tensor(images))
        start = kit.codes(kit.w.mean.expand(len(row), -1), np.stack([accepted[i].camera for i in row]))
        codes = invert(kit.source.generator, kit.loss, targets, start, settings.invert).codes
        train, held_out = torch.arange(plan.train), torch.arange(plan.train, len(row))
        learned, judged = (TuningSet(codes[one], targets[one]) for one in (train, held_out))
        sets.append(_Timestamp(learned, judged, images[: plan.train], embed(images[plan.train :])))
    count = plan.timestamps
    steps = count + sum(count if one == "upper" else count * (count + 1) // 2 for one in settings.methods)
    lab = _Lab(kit, tuple(sets), settings, embed, ProgressReporter("evaluate", steps, on_progress))
    return _scores(lab)


def _scores(lab: _Lab) -> Scores3D:
    judged = lab.judge(lab.kit.source.generator, len(lab.sets))
    found: Scores3D = {
        BASE: {f"{metric} AIP": float(one.mean()) for metric, one in zip(METRICS_3D, judged, strict=True)}
    }
    first = lab.kit.fresh()
    lab.tuned(first, lab.sets[0].train, None, 0, lab.settings.tune)
    for name in lab.settings.methods:
        began = time.process_time()
        matrices = lab.method(name, first)
        mine: dict[str, float] = {}
        for (metric, (_, higher)), matrix in zip(METRICS_3D.items(), matrices, strict=True):
            if name == "upper":
                mine[f"{metric} AIP"] = float(np.nanmean(matrix[-1]))
                continue
            summary = forgetting_summary(matrix, higher_is_better=higher)
            mine[f"{metric} AIP"] = summary.incremental_performance
            mine[f"{metric} Forgetting"] = summary.forgetting
        found[name] = mine | {"processor seconds": time.process_time() - began}
    return found
