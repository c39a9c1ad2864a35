"""The paper's experiment in small: one timeline, several replay methods, what each model still knows of every batch.

Wang, Qi and Sengupta, "Continual Learning of Personalized Generative Face Models with Experience Replay" (WACV 2025),
evaluation. All methods start from one t = 0 model; model t is tuned on batch t and the memory; after each timestamp
it is judged on the held-out photos of all batches so far. Smaller than the paper's: anchors and starting codes come
from optimisation in the base's W, and the W+ optimisation of the evaluation takes few, batched steps.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from everface.bench.keeping import Keeping
from everface.bench.sequence import (
    Batch,
    Embed,
    EncodedBatch,
    Judgement,
    SequenceSettings,
    Timestep,
    first_model,
    inverted_batch,
    joint_step,
    judge,
    samples_of,
    timesteps,
)
from everface.engine.config import InvertConfig, TuneConfig
from everface.engine.errors import UsageError
from everface.engine.learn.backend import Backend
from everface.engine.learn.values import LearnSettings, Memory
from everface.engine.metrics.forgetting import ForgettingSummary, forgetting_summary
from everface.engine.progress import OnProgress, Progress, ProgressReporter, ignore_progress
from everface.engine.replay.policies.registry import policy

UPPER = "upper"
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class ProtocolConfig:
    """How the experiment is run.

    Attributes:
        keeping: how large the memory is, and how its photos are stored.
        invert: search of the W codes of all photos, under the base.
        tune: of each timestamp; no early stop, so that all methods make equally many updates.
        evaluate: W+ optimisation of the held-out photos (the paper: 800 steps, learning rate 5e-3).
        samples: P0 samples for each judgement of identity (the paper: 20).
        seed: of everything.
    """

    keeping: Keeping = field(default_factory=Keeping)
    invert: InvertConfig = field(default_factory=InvertConfig)
    tune: TuneConfig = field(default_factory=lambda: TuneConfig(settle_window=0))
    evaluate: InvertConfig = field(default_factory=lambda: InvertConfig(steps=50, learning_rate=0.02, batch=16))
    samples: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise UsageError("samples", expected="at least 1", found=str(self.samples))

    def method(self, name: str) -> SequenceSettings:
        """How a method learns."""
        return SequenceSettings(LearnSettings(name, self.tune, self.invert, self.seed), self.keeping)


@dataclass(frozen=True, eq=False)
class MethodResult:
    """What one method reached.

    Attributes:
        name: the method.
        reconstruction: [T, T], mean loss of model t on the held-out photos of k; NaN where not measured.
        identity: [T, T], mean best cosine of model t's samples for k to the held-out photos of k.
        steps: one a timestamp; the upper bound has its last alone.
        last: the last model's judgement on all timestamps.
        processor_seconds: of learning and judging.
    """

    name: str
    reconstruction: Matrix
    identity: Matrix
    steps: tuple[Timestep, ...]
    last: Judgement
    processor_seconds: float

    @property
    def model(self) -> bytes:
        """The last model."""
        return self.steps[-1].step.model

    @property
    def memory(self) -> Memory:
        """The photos that are left at the end, as they come out of the store."""
        return self.steps[-1].memory

    def reconstruction_summary(self) -> ForgettingSummary:
        """AP, AIP and Forgetting of the reconstruction loss."""
        return self._summary(self.reconstruction, higher_is_better=False)

    def identity_summary(self) -> ForgettingSummary:
        """AP, AIP and Forgetting of the samples' identity."""
        return self._summary(self.identity, higher_is_better=True)

    def _summary(self, matrix: Matrix, *, higher_is_better: bool) -> ForgettingSummary:
        if self.name == UPPER:
            # The paper gives the upper bound's mean over all test sets, and nothing that it could forget.
            mean = float(matrix[-1].mean())
            return ForgettingSummary((mean,), mean, float("nan"), higher_is_better)
        return forgetting_summary(matrix, higher_is_better=higher_is_better)


@dataclass(frozen=True, eq=False)
class ProtocolResult:
    """All methods on one timeline.

    Attributes:
        encoded: the batches.
        methods: one result a method, in the order asked for.
        base: the untuned base on all timestamps, judged in the same way, samples at the same codes.
    """

    encoded: tuple[EncodedBatch, ...]
    methods: tuple[MethodResult, ...]
    base: Judgement

    def method(self, name: str) -> MethodResult:
        """The result of that method.

        Raises:
            UsageError: it was not run.
        """
        for result in self.methods:
            if result.name == name:
                return result
        raise UsageError("method", expected=" or ".join(result.name for result in self.methods), found=repr(name))


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
        methods: ``"upper"`` or names of replay policies.
        config: how.
        embed: judge of identity; the packaged embedder (dlib's) by default.
        on_progress: hears the stages ``"invert"``, ``"tune"`` and ``"evaluate"``, each over the whole experiment.

    Raises:
        UsageError: fewer than two batches, no or unknown methods.
    """
    if len(batches) < 2:
        raise UsageError("batches", expected="at least two timestamps", found=str(len(batches)))
    if not methods:
        raise UsageError("methods", expected="at least one name", found="none")
    for name in methods:
        policy(name)
    run = _Run.started(backend, batches, methods, config, embed or backend.embed, on_progress)
    base = run.judged(None, len(batches))
    first = first_model(backend, run.encoded[0], config.method(UPPER), run.tuning.part())
    return ProtocolResult(run.encoded, tuple(run.method(name, first) for name in methods), base)


@dataclass(frozen=True, eq=False)
class _Run:
    """What all methods share: backend, photos, settings, the judge and who hears of it."""

    backend: Backend
    encoded: tuple[EncodedBatch, ...]
    config: ProtocolConfig
    embed: Embed
    tuning: Overall
    judging: ProgressReporter

    @classmethod
    def started(
        cls, backend: Backend, batches: Sequence[Batch], methods: Sequence[str], config: ProtocolConfig, embed: Embed,
        on_progress: OnProgress,
    ) -> _Run:  # fmt: skip
        photos, count = sum(len(batch.train) + len(batch.held_out) for batch in batches), len(batches)
        inverting = Overall(ProgressReporter("invert", photos * config.invert.steps, on_progress))
        encoded = tuple(inverted_batch(backend, batch, config.invert, embed, inverting.part()) for batch in batches)
        uppers = sum(name == UPPER for name in methods)
        updates = config.tune.max_steps * (1 + (count - 1) * (len(methods) - uppers) + count * uppers)
        tuning = Overall(ProgressReporter("tune", updates, on_progress))
        judged = count + (len(methods) - uppers) * (count * (count + 1) // 2) + count * uppers
        return cls(backend, encoded, config, embed, tuning, ProgressReporter("evaluate", judged, on_progress))

    def judged(self, model: bytes | None, count: int) -> Judgement:
        """A model on the first timestamps."""
        face, config = self.backend.model(model), self.config
        judgement = judge(
            self.backend, face, self.encoded[:count], config.evaluate,
            lambda face, k: samples_of(face, self.encoded[k], config.samples, config.seed, k), self.embed,
        )  # fmt: skip
        self.judging.advance(count)
        return judgement

    def method(self, name: str, first: bytes) -> MethodResult:
        """A method over the whole timeline."""
        began, count = time.process_time(), len(self.encoded)
        reconstruction, identity = np.full((count, count), np.nan), np.full((count, count), np.nan)
        steps = []
        for t, timestep in self._timesteps(name, first):
            steps.append(timestep)
            judgement = self.judged(timestep.step.model, t + 1)
            reconstruction[t, : t + 1], identity[t, : t + 1] = judgement.reconstruction, judgement.identity
        return MethodResult(
            name, reconstruction, identity, tuple(steps), judgement, time.process_time() - began
        )  # fmt: skip

    def _timesteps(self, name: str, first: bytes) -> Iterator[tuple[int, Timestep]]:
        settings = self.config.method(name)
        if name == UPPER:
            yield len(self.encoded) - 1, joint_step(self.backend, self.encoded, settings.learn, self.tuning.part())
            return
        yield from enumerate(timesteps(self.backend, first, self.encoded, settings, self.tuning.part()))


class Overall:
    """Adds the progress of many runs of one stage up, so that the listener sees one."""

    def __init__(self, reporter: ProgressReporter) -> None:
        self._reporter = reporter

    def part(self) -> OnProgress:
        """The listener of the next runs, one after the other, each of which counts from its start."""
        last = 0

        def listen(progress: Progress) -> None:
            nonlocal last
            if progress.stage == self._reporter.stage:
                last = last if progress.done > last else 0
                self._reporter.advance(progress.done - last, progress.loss)
                last = progress.done

        return listen
