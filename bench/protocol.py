"""What the model of each timestamp still knows of every batch: the evaluation of the paper's experiment.

Wang, Qi and Sengupta, "Continual Learning of Personalized Generative Face Models with Experience Replay" (WACV 2025).
All methods start from one t = 0 model; model t is tuned on batch t and the memory; after each timestamp it is judged on
the held-out photos of all batches so far. Smaller than the paper's: anchors and starting codes come from optimisation
in the base's W, and the W+ optimisation of the evaluation takes few, batched steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from everface.bench.keeping import Keeping
from everface.bench.sequence import (
    UPPER,
    Batch,
    Embed,
    EncodedBatch,
    SequenceSettings,
    Timestep,
    first_model,
    inverted_batch,
    method_steps,
    samples_of,
)
from everface.engine.config import InvertConfig, TuneConfig
from everface.engine.errors import UsageError
from everface.engine.latents.invert import Inversion, invert
from everface.engine.latents.model import FaceModel, Floats
from everface.engine.learn.backend import Backend
from everface.engine.learn.values import LearnSettings
from everface.engine.metrics.forgetting import ForgettingSummary, forgetting_summary
from everface.engine.metrics.identity import best_cosines, mean_best_cosine
from everface.engine.metrics.reconstruction import psnr
from everface.engine.pictures import to_uint8
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress
from everface.engine.replay.policies.registry import policy

if TYPE_CHECKING:
    from everface.bench.features import IndependentDistance

INDEPENDENT = "EfficientNet-lite0 distance"
LOSS = "MobileNetV2 distance + MSE"
LEARNED = "MobileNetV2 distance + MSE of learned photos at their anchors"
PSNR, REC_IDENTITY, IDENTITY = "PSNR", "ID of reconstructions", "ID of samples"
METRICS = {INDEPENDENT: False, LOSS: False, PSNR: True, REC_IDENTITY: True, IDENTITY: True, LEARNED: False}
"""Metric to whether higher is better."""
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Judgement:
    """A model on k timestamps' held-out photos.

    Attributes:
        means: [k] of each metric.
        losses: [m] of each photo after the W+ optimisation, all in order.
        codes: [m, num_ws, code_dim] the W+ codes found for them.
    """

    means: Mapping[str, Matrix]
    losses: Floats
    codes: Floats


@dataclass(frozen=True, eq=False)
class Judge:
    """Judges models.

    Attributes:
        backend: of the base.
        batches: the timeline.
        embed: judge of identity.
        evaluate: W+ optimisation of the held-out photos (the paper: 800 steps, learning rate 5e-3).
        samples: P0 samples for each judgement of identity (the paper: 20).
        seed: of the samples.
        metrics: of ``METRICS``, what is measured.
        distance: features that tuning does not use, for the metric ``INDEPENDENT``.
    """

    backend: Backend
    batches: Sequence[EncodedBatch]
    embed: Embed
    evaluate: InvertConfig
    samples: int
    seed: int
    metrics: tuple[str, ...] = (LOSS, IDENTITY)
    distance: IndependentDistance | None = None

    def __call__(self, content: bytes | None, count: int) -> Judgement:
        """A model file, or the base for None, on the first timestamps."""
        model, batches = self.backend.model(content), self.batches[:count]
        found = reconstruct(self.backend, model, batches, self.evaluate)
        photos = np.concatenate([one.batch.held_out for one in batches])
        truth = np.concatenate([one.references for one in batches])

        @cache
        def pictures() -> NDArray[np.uint8]:
            return to_uint8(model.render(found.codes))

        by_photo: dict[str, Callable[[], NDArray[np.floating]]] = {
            LOSS: lambda: found.losses.astype(np.float64),
            PSNR: lambda: psnr(pictures(), photos),
            REC_IDENTITY: lambda: _pairwise(self.embed(pictures()), truth),
        }
        if (distance := self.distance) is not None:
            by_photo[INDEPENDENT] = lambda: distance(pictures(), photos)
        by_batch: dict[str, Callable[[int, EncodedBatch], float]] = {
            IDENTITY: lambda k, one: mean_best_cosine(
                self.embed(samples_of(model, one, self.samples, self.seed, k)), one.references
            ),
            LEARNED: lambda _, one: float(model.losses(one.train.codes, one.train_targets).mean()),
        }
        cuts = np.cumsum([len(one.batch.held_out) for one in batches])[:-1]
        means = {
            name: [float(part.mean()) for part in np.split(by_photo[name](), cuts)]
            if name in by_photo
            else [by_batch[name](k, one) for k, one in enumerate(batches)]
            for name in self.metrics
        }
        return Judgement({name: np.array(values) for name, values in means.items()}, found.losses, found.codes)


def _pairwise(embedded: Floats, truth: Floats) -> NDArray[np.float64]:
    return np.array([best_cosines(embedded[i : i + 1], truth[i : i + 1])[0] for i in range(len(embedded))])


def reconstruct(backend: Backend, model: FaceModel, batches: Sequence[EncodedBatch], config: InvertConfig) -> Inversion:
    """The paper's reconstruction: free W+ optimisation of each held-out photo from its W code, which the base gave."""
    codes = np.concatenate([batch.held_out.codes for batch in batches])
    start = np.repeat(codes[:, None], model.shape.num_ws, axis=1)
    return invert(model, backend.join(*(batch.held_out_targets for batch in batches)), start, config)


@dataclass(frozen=True, eq=False)
class MethodResult:
    """What one method reached.

    Attributes:
        name: the method.
        matrices: [T, T] of each metric, its mean for model t on batch k; NaN where not measured.
        steps: one a timestamp; the upper bound has its last alone.
        last: the last model's judgement on all timestamps.
        processor_seconds: of learning and judging.
    """

    name: str
    matrices: Mapping[str, Matrix]
    steps: tuple[Timestep, ...]
    last: Judgement
    processor_seconds: float

    @property
    def model(self) -> bytes:
        """The last model."""
        return self.steps[-1].step.model

    def summary(self, metric: str) -> ForgettingSummary:
        """AP, AIP and Forgetting of a metric."""
        return summary_of(self.matrices[metric], metric)


def summary_of(matrix: Matrix, metric: str) -> ForgettingSummary:
    """AP, AIP and Forgetting; of a model that is judged at the end alone its mean, and nothing that it could forget."""
    if len(matrix) > 1 and np.isnan(matrix[:-1]).all():
        mean = float(matrix[-1].mean())
        return ForgettingSummary((mean,), mean, float("nan"), METRICS[metric])
    return forgetting_summary(matrix, higher_is_better=METRICS[metric])


def run_method(
    name: str, judge: Judge, steps: Iterable[tuple[int, Timestep]], reporter: ProgressReporter | None = None
) -> MethodResult:
    """Judges a method's models on every timestamp so far.

    Args:
        name: of the method.
        judge: of the timeline.
        steps: see ``everface.bench.sequence.method_steps``.
        reporter: hears of every timestamp.
    """
    began, count, done = time.process_time(), len(judge.batches), 0
    matrices = {metric: np.full((count, count), np.nan) for metric in judge.metrics}
    kept = []
    for t, step in steps:
        kept.append(step)
        judgement = judge(step.step.model, t + 1)
        for metric, means in judgement.means.items():
            matrices[metric][t, : t + 1] = means
        if reporter is not None:
            reporter.advance(t + 1 - done)
        done = t + 1
    return MethodResult(name, matrices, tuple(kept), judgement, time.process_time() - began)


@dataclass(frozen=True)
class ProtocolConfig:
    """How several methods are run on one timeline.

    Attributes:
        keeping: how large the memory is, and how its photos are stored.
        invert: search of the W codes of all photos, under the base.
        tune: of each timestamp; no early stop, so that all methods make equally many updates.
        evaluate: see ``Judge``.
        samples: see ``Judge``.
        seed: of everything.
    """

    keeping: Keeping = field(default_factory=Keeping)
    invert: InvertConfig = field(default_factory=InvertConfig)
    tune: TuneConfig = field(default_factory=lambda: TuneConfig(settle_window=0))
    evaluate: InvertConfig = field(default_factory=lambda: InvertConfig(steps=50, learning_rate=0.02, batch=16))
    samples: int = 20
    seed: int = 0

    def method(self, name: str) -> SequenceSettings:
        """How a method learns."""
        return SequenceSettings(LearnSettings(name, self.tune, self.invert, self.seed), self.keeping)


@dataclass(frozen=True, eq=False)
class ProtocolResult:
    """All methods on one timeline.

    Attributes:
        encoded: the batches.
        methods: by name, in the order asked for.
        base: the untuned base on all timestamps, judged in the same way, samples at the same codes.
    """

    encoded: tuple[EncodedBatch, ...]
    methods: Mapping[str, MethodResult]
    base: Judgement


def run_protocol(
    backend: Backend,
    batches: Sequence[Batch],
    methods: Sequence[str],
    config: ProtocolConfig,
    embed: Embed | None = None,
    on_progress: OnProgress = ignore_progress,
) -> ProtocolResult:
    """Runs all methods on one timeline, from the same t = 0 model.

    Args:
        backend: of the base, 2D or 3D.
        batches: the timeline, oldest first, at least two.
        methods: names of replay policies, or ``"upper"``.
        config: how.
        embed: judge of identity; the packaged embedder (dlib's) by default.
        on_progress: hears the stages ``"invert"``, of all batches, and ``"tune"``, of all methods' timestamps.

    Raises:
        UsageError: fewer than two batches, no or unknown methods.
    """
    if len(batches) < 2 or not methods:
        found = f"{len(batches)} timestamps, {len(methods)} methods"
        raise UsageError("protocol", expected="at least two timestamps and a method", found=found)
    for name in methods:
        policy(name)
    embed, inverting = embed or backend.embed, ProgressReporter("invert", len(batches), on_progress)
    encoded = []
    for batch in batches:
        encoded.append(inverted_batch(backend, batch, config.invert, embed))
        inverting.advance()
    judge = Judge(backend, encoded, embed, config.evaluate, config.samples, config.seed)
    reporter = ProgressReporter("tune", 1 + len(methods) * len(batches), on_progress)
    base, first = judge(None, len(batches)), first_model(backend, encoded[0], config.method(UPPER))
    reporter.advance()
    results = {
        name: run_method(name, judge, method_steps(name, backend, first, encoded, config.method(name)), reporter)
        for name in methods
    }
    return ProtocolResult(tuple(encoded), results, base)
