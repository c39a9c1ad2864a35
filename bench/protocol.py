"""The paper's experiment in small: one timeline, several replay methods, what each model still knows of every batch.

Wang, Qi and Sengupta, "Continual Learning of Personalized Generative Face Models with Experience Replay" (WACV 2025),
evaluation. All methods start from one t = 0 model; model t is tuned on batch t and the buffer; after each timestamp
it is judged on the held-out photos of all batches so far. Smaller than the paper's: anchors and starting codes come
from optimisation in the base's W, and the W+ optimisation of the evaluation takes few, batched steps.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from everface.bench.buffer import Buffer, Keeping
from everface.engine.config import InvertConfig, TuneConfig
from everface.engine.errors import UsageError
from everface.engine.generators.stylegan2 import Generator
from everface.engine.latents.invert import Inversion, invert, reconstruction_losses
from everface.engine.latents.sample import sample_p0
from everface.engine.metrics.forgetting import ForgettingSummary, forgetting_summary
from everface.engine.metrics.identity import mean_best_cosine
from everface.engine.perception.losses import PreparedTargets, ReconstructionLoss
from everface.engine.progress import OnProgress, Progress, ProgressReporter, ignore_progress
from everface.engine.replay.policies.registry import policy
from everface.engine.replay.policies.spread import spread_of
from everface.engine.session.kit import Kit, to_images, to_tensor
from everface.engine.tune.loop import TuneRun, TuningSet, tune

__all__ = [
    "UPPER", "Batch", "Embed", "EncodedBatch", "MethodResult", "ProtocolConfig", "ProtocolResult", "encode_timeline",
    "first_model", "reconstruct", "run_method", "run_protocol", "samples_of",
]  # fmt: skip

UPPER = "upper"
Matrix = NDArray[np.float64]
Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Aligned crops uint8 [n, R, R, 3] to identity embeddings [n, d]."""


@dataclass(frozen=True, eq=False)
class Batch:
    """One timestamp: aligned crops uint8 [n, R, R, 3] to learn, and [m, R, R, 3] to judge by."""

    title: str
    train: NDArray[np.uint8]
    held_out: NDArray[np.uint8]

    def __post_init__(self) -> None:
        for name in ("train", "held_out"):
            images = getattr(self, name)
            if images.ndim != 4 or not len(images) or images.dtype != np.uint8:
                expected, found = "uint8 images [n, R, R, 3], at least one", f"{images.dtype} {images.shape}"
                raise UsageError(f"batch {self.title!r}, {name}", expected=expected, found=found)


@dataclass(frozen=True)
class ProtocolConfig:
    """How the experiment is run.

    Attributes:
        keeping: how large the buffer is, and how its photos are stored.
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


@dataclass(frozen=True, eq=False)
class EncodedBatch:
    """A batch with all that does not depend on the method.

    Attributes:
        batch: the photos.
        train: the photos to learn, with their W codes under the base: the anchors.
        held_out: the others, with their W codes under the base.
        train_losses: reconstruction loss of the training photos under the base, at their W codes.
        held_out_losses: the same of the others.
        spread: [n], see :func:`everface.engine.replay.policies.spread.spread_of`.
        references: identity embeddings of the held-out photos.
    """

    batch: Batch
    train: TuningSet
    held_out: TuningSet
    train_losses: Tensor
    held_out_losses: Tensor
    spread: NDArray[np.float64]
    references: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class MethodResult:
    """What one method reached.

    Attributes:
        name: the method.
        reconstruction: [T, T], mean loss of model t on the held-out photos of k; NaN where not measured.
        identity: [T, T], mean best cosine of model t's samples for k to the held-out photos of k.
        kept: for each timestamp the buffer after it, as (timestamp, index in its batch).
        kept_bytes: what that buffer takes.
        train_before: mean loss on each new batch before it was learned; train_after: after it.
        seconds: wall-clock time of tuning and choosing, a timestamp each.
        generator: the last model.
        last: its judgement on all timestamps.
        memories: the photos that the last buffer holds, as they come out of the store.
        memory_bytes: what each of them takes.
    """

    name: str
    reconstruction: Matrix
    identity: Matrix
    kept: tuple[tuple[tuple[int, int], ...], ...]
    kept_bytes: tuple[int, ...]
    train_before: tuple[float, ...]
    train_after: tuple[float, ...]
    seconds: tuple[float, ...]
    generator: Generator
    last: Judgement
    memories: tuple[NDArray[np.uint8], ...]
    memory_bytes: tuple[int, ...]

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
        for one in self.methods:
            if one.name == name:
                return one
        raise UsageError("method", expected=" or ".join(one.name for one in self.methods), found=repr(name))


def run_protocol(
    kit: Kit,
    batches: Sequence[Batch],
    methods: Sequence[str],
    config: ProtocolConfig,
    embed: Embed | None = None,
    on_progress: OnProgress = ignore_progress,
) -> ProtocolResult:
    """Runs all methods on one timeline, from the same t = 0 model.

    Args:
        kit: networks; those of the configuration's base.
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
    encoded = encode_timeline(kit, batches, config, embed, on_progress)
    count, later = len(batches), len(batches) - 1
    uppers = sum(name == UPPER for name in methods)
    updates = config.tune.max_steps * (1 + later * (len(methods) - uppers) + count * uppers)
    judged = count + sum(count * (count + 1) // 2 for name in methods if name != UPPER) + count * uppers
    bench = Bench(kit, encoded, config, embed or kit.embed)
    tuning = Overall(ProgressReporter("tune", updates, on_progress))
    judging = ProgressReporter("evaluate", judged, on_progress)
    base = bench.judge(kit.base.generator, range(count), judging)
    first = first_model(bench, tuning)
    results = tuple(run_method(bench, first, name, tuning, judging) for name in methods)
    return ProtocolResult(encoded, results, base)


def encode_timeline(
    kit: Kit,
    batches: Sequence[Batch],
    config: ProtocolConfig,
    embed: Embed | None = None,
    on_progress: OnProgress = ignore_progress,
) -> tuple[EncodedBatch, ...]:
    """Inverts all photos under the base, once for all methods. Arguments as :func:`run_protocol`."""
    embed, base = embed or kit.embed, kit.base.generator
    photos = sum(len(batch.train) + len(batch.held_out) for batch in batches)
    overall = Overall(ProgressReporter("invert", photos * config.invert.steps, on_progress))
    found = []
    for batch in batches:
        split = len(batch.train)
        targets = kit.loss.prepare(to_tensor(np.concatenate([batch.train, batch.held_out])))
        inversion = invert(base, kit.loss, targets, kit.w.mean, config.invert, on_progress=overall.part())
        train, held_out = torch.arange(split), torch.arange(split, len(targets))
        codes, losses = inversion.codes, inversion.losses
        found.append(
            EncodedBatch(
                batch, TuningSet(codes[train], targets[train]), TuningSet(codes[held_out], targets[held_out]),
                losses[train], losses[held_out], spread_of(codes[train].numpy()), embed(batch.held_out),
            )
        )  # fmt: skip
    return tuple(found)


@dataclass(frozen=True, eq=False)
class Judgement:
    """A model on k timestamps' held-out photos.

    Attributes:
        reconstruction: [k] mean loss after the W+ optimisation.
        identity: [k] mean best cosine of samples.
        losses: [m] the loss of each photo, all in order.
        codes: [m, num_ws, w_dim] the W+ codes found for them.
    """

    reconstruction: Matrix
    identity: Matrix
    losses: NDArray[np.float32]
    codes: Tensor


@dataclass(frozen=True, eq=False)
class Bench:
    """What all methods share: networks, photos, settings and the judge."""

    kit: Kit
    encoded: tuple[EncodedBatch, ...]
    config: ProtocolConfig
    embed: Embed

    @property
    def loss(self) -> ReconstructionLoss:
        """The loss of inversion, tuning and evaluation."""
        return self.kit.loss

    def judge(self, model: Generator, timestamps: Sequence[int], judging: ProgressReporter) -> Judgement:
        """Judges a model on each timestamp's held-out photos."""
        sets = [self.encoded[k] for k in timestamps]
        found = reconstruct(model, self.loss, _joined([one.held_out for one in sets]), self.config.evaluate)
        ends = np.cumsum([len(one.held_out) for one in sets])
        losses = found.losses.numpy()
        means = [float(part.mean()) for part in np.split(losses, ends[:-1])]
        identities = []
        for k, one in zip(timestamps, sets, strict=True):
            samples = samples_of(model, one, self.config, k)
            identities.append(mean_best_cosine(self.embed(samples), one.references))
            judging.advance()
        return Judgement(np.array(means), np.array(identities), losses, found.codes)


def reconstruct(model: Generator, loss: ReconstructionLoss, held_out: TuningSet, config: InvertConfig) -> Inversion:
    """The paper's reconstruction: free W+ optimisation of each photo from its W code, which the base gave."""
    start = held_out.codes[:, None].expand(-1, model.config.num_ws, -1)
    return invert(model, loss, held_out.targets, start, config)


@torch.no_grad()
def samples_of(model: Generator, one: EncodedBatch, config: ProtocolConfig, timestamp: int) -> NDArray[np.uint8]:
    """P0 samples of a timestamp's own anchors, uint8 [samples, R, R, 3]; the same codes for every model."""
    rng = np.random.default_rng([config.seed, timestamp, 2])
    codes = sample_p0(one.train.codes.numpy(), config.samples, rng)
    return to_images(model.synthesis(torch.from_numpy(codes)))


def first_model(bench: Bench, tuning: Overall) -> Generator:
    """The t = 0 model that all methods start from: the base, tuned on the first batch."""
    generator = bench.kit.fresh_generator()
    run = TuneRun(seed=bench.config.seed, on_progress=tuning.part())
    tune(generator, bench.loss, bench.encoded[0].train, None, bench.config.tune, run)
    return generator


def run_method(bench: Bench, first: Generator, name: str, tuning: Overall, judging: ProgressReporter) -> MethodResult:
    """Runs one method over the whole timeline. It needs nothing of other methods, so methods can run anywhere.

    Args:
        bench: photos, settings and judge.
        first: the t = 0 model; it is not changed.
        name: the method.
        tuning: hears of tuning.
        judging: hears of evaluation.
    """
    if name == UPPER:
        return _run_upper(bench, tuning, judging)
    count = len(bench.encoded)
    model, buffer = copy.deepcopy(first), Buffer(name, bench.config.keeping, bench.config.seed)
    trace = _Trace(count)
    for t, one in enumerate(bench.encoded):
        began = time.monotonic()
        before = one.train_losses if t == 0 else _losses(bench, model, one.train)
        if t:
            run = TuneRun(seed=bench.config.seed + t, on_progress=tuning.part())
            tune(model, bench.loss, one.train, buffer.replay(bench.loss), bench.config.tune, run)
        after = _losses(bench, model, one.train)
        buffer.measure(partial(_losses, bench, model), bench.loss)
        buffer.take(t, one.batch.train, one.train.codes.numpy(), one.spread, after.numpy())
        trace.add(before, after, time.monotonic() - began, buffer)
        trace.judged(t, bench.judge(model, range(t + 1), judging))
    return trace.result(name, model, buffer)


def _run_upper(bench: Bench, tuning: Overall, judging: ProgressReporter) -> MethodResult:
    """The base tuned once on all photos, with as many updates as the timestamps have together."""
    config, count = bench.config.tune, len(bench.encoded)
    all_of_them = _joined([one.train for one in bench.encoded])
    both = config.new_per_step + config.replay_per_step
    longer = replace(config, new_per_step=both, replay_per_step=0, max_steps=count * config.max_steps)
    model, began = bench.kit.fresh_generator(), time.monotonic()
    run = TuneRun(seed=bench.config.seed, on_progress=tuning.part())
    tune(model, bench.loss, all_of_them, None, longer, run)
    seconds = time.monotonic() - began
    before = torch.cat([one.train_losses for one in bench.encoded])
    trace, nothing = _Trace(count), Buffer("lower", bench.config.keeping, 0)
    trace.add(before, _losses(bench, model, all_of_them), seconds, nothing)
    trace.judged(count - 1, bench.judge(model, range(count), judging))
    return trace.result(UPPER, model, nothing)


class _Trace:
    """What is noted after each timestamp of ``count``."""

    def __init__(self, count: int) -> None:
        self._before: list[float] = []
        self._after: list[float] = []
        self._seconds: list[float] = []
        self._kept: list[tuple[tuple[int, int], ...]] = []
        self._kept_bytes: list[int] = []
        self._reconstruction, self._identity = np.full((count, count), np.nan), np.full((count, count), np.nan)
        self._last: Judgement | None = None

    def add(self, before: Tensor, after: Tensor, seconds: float, buffer: Buffer) -> None:
        self._before.append(float(before.mean()))
        self._after.append(float(after.mean()))
        self._seconds.append(seconds)
        self._kept.append(buffer.origins())
        self._kept_bytes.append(sum(buffer.sizes()))

    def judged(self, timestamp: int, judgement: Judgement) -> None:
        self._reconstruction[timestamp, : timestamp + 1] = judgement.reconstruction
        self._identity[timestamp, : timestamp + 1] = judgement.identity
        self._last = judgement

    def result(self, name: str, model: Generator, buffer: Buffer) -> MethodResult:
        if self._last is None:
            raise UsageError("batches", expected="at least one timestamp", found="none")
        return MethodResult(
            name, self._reconstruction, self._identity, tuple(self._kept), tuple(self._kept_bytes),
            tuple(self._before), tuple(self._after), tuple(self._seconds), model, self._last, tuple(buffer.images()),
            buffer.sizes(),
        )  # fmt: skip


class Overall:
    """Adds the progress of many runs of one stage up, so that the listener sees one."""

    def __init__(self, reporter: ProgressReporter) -> None:
        self._reporter = reporter

    def part(self) -> OnProgress:
        """The listener of the next run."""
        last = 0

        def listen(progress: Progress) -> None:
            nonlocal last
            self._reporter.advance(progress.done - last, progress.loss)
            last = progress.done

        return listen


def _joined(sets: Sequence[TuningSet]) -> TuningSet:
    return TuningSet(torch.cat([one.codes for one in sets]), PreparedTargets.join(*(one.targets for one in sets)))


def _losses(bench: Bench, model: Generator, images: TuningSet) -> Tensor:
    return reconstruction_losses(model, bench.loss, images.targets, images.codes)
