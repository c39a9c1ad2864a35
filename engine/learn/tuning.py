"""Tuning: a learner's steps until it has settled, the steps are made or the time is up.

MyStyle (Nitzan et al. 2022, section 3.1) with the paper's replay: each step sees a few new images and a few from the
memory, all with the same weight. Where it is interrupted it goes on from its last checkpoint with the same result: what
a step sees depends on the seed and the step's number alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from everface.engine.config import TuneConfig
from everface.engine.errors import NumericalError
from everface.engine.latents.model import Floats, Targets
from everface.engine.learn.backend import Learner, LearnerState
from everface.engine.learn.mixing import Stream, mixed
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress

_CHECKPOINT_SECONDS = 20.0
_FALL, _LAST_RATE = 0.25, 0.02  # of the updates; of the learning rate


@dataclass(frozen=True, eq=False)
class TuningState:
    """A tuning under way: the learner, and the loss of each step so far."""

    learner: LearnerState
    losses: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class TuningRun:
    """How a run behaves, beside what it learns.

    Attributes:
        seed: of the order in which images are seen.
        deadline: time.monotonic() after which no further step starts, None for none.
        resume: a state to go on from.
        checkpoint: receives the state now and then.
        on_progress: hears the stage ``"tune"``.
    """

    seed: int = 0
    deadline: float | None = None
    resume: TuningState | None = None
    checkpoint: Callable[[TuningState], None] | None = None
    on_progress: OnProgress = ignore_progress


@dataclass(frozen=True)
class Tuning:
    """What a run did.

    Attributes:
        losses: mean loss of each step.
        stopped: ``"settled"``, ``"steps"`` or ``"time"``.
    """

    losses: tuple[float, ...] = field(repr=False)
    stopped: str

    @property
    def steps(self) -> int:
        """Steps made in all."""
        return len(self.losses)


def tune(
    learner: Learner, codes: Floats, targets: Targets, streams: Sequence[Stream], config: TuneConfig, run: TuningRun
) -> Tuning:
    """Tunes a learner.

    Args:
        learner: changed.
        codes: [n, ...] of all images.
        targets: n of them.
        streams: who takes turns with whom; indices into codes and targets.
        config: steps, learning rate, settling.
        run: seed, deadline, resumption.

    Raises:
        NumericalError: the loss left the finite numbers; the learner is then unusable.
    """
    losses: list[float] = []
    if run.resume is not None:
        learner.restore(run.resume.learner)
        losses = list(run.resume.losses)
    rate = config.lora_learning_rate if config.lora_rank else config.learning_rate
    reporter = ProgressReporter("tune", config.max_steps, run.on_progress)
    reporter.resume_at(len(losses))
    saved = time.monotonic()
    while len(losses) < config.max_steps:
        if run.deadline is not None and time.monotonic() >= run.deadline:
            return Tuning(tuple(losses), "time")
        if _settled(losses, config.settle_window):
            return Tuning(tuple(losses), "settled")
        index = mixed(streams, run.seed, len(losses))
        loss = learner.step(codes, targets, index, rate * _left(len(losses) / config.max_steps))
        if not math.isfinite(loss):
            remedy = "use a smaller tune.learning_rate"
            raise NumericalError("tuning", expected="a finite loss", found=str(loss), remedy=remedy)
        losses.append(loss)
        reporter.advance(1, loss)
        if run.checkpoint is not None and time.monotonic() - saved > _CHECKPOINT_SECONDS:
            run.checkpoint(TuningState(learner.state(), tuple(losses)))
            saved = time.monotonic()
    return Tuning(tuple(losses), "steps")


def _left(done: float) -> float:
    """What is left of the learning rate: all of it, then less and less, so that the last updates settle what the
    earlier ones have stirred up; two thirds of the updates then do what all did at a constant rate.
    """
    return min(1.0, (1.0 - done) / _FALL + _LAST_RATE)


def _settled(losses: Sequence[float], window: int) -> bool:
    """Whether the mean loss of the last window is within one percent of the window before it."""
    if not window or len(losses) < 2 * window or len(losses) % window:
        return False
    before, now = np.mean(losses[-2 * window : -window]), np.mean(losses[-window:])
    return bool(now > 0.99 * before)
