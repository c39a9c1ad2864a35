"""The one tuning loop: all synthesis weights or a LoRA, on new photos and replayed ones, at fixed anchors.

MyStyle (Nitzan et al. 2022, section 3.1) with the paper's replay: each update sees a few new images and a few from
the buffer, all with the same weight. Where the loop is interrupted it goes on from its last checkpoint with the same
result: what a step sees depends on the seed and the step's number alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from everface.engine.config import TuneConfig
from everface.engine.errors import NumericalError, UsageError
from everface.engine.generators.protocol import FaceGenerator
from everface.engine.numerics import compute_dtype, fast_numerics
from everface.engine.perception.losses import PreparedTargets, ReconstructionLoss
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress
from everface.engine.tune.learner import AdaptedLearner, Learner, learner_of

__all__ = ["TuneResult", "TuneRun", "TuneState", "TuningSet", "tune"]

_CHECKPOINT_SECONDS = 20.0


@dataclass(frozen=True, eq=False)
class TuningSet:
    """Images and where in latent space they are anchored.

    Attributes:
        codes: [n, w_dim] or [n, num_ws, w_dim] fixed anchors, in 3D with their cameras.
        targets: the n prepared images.
        weights: [n] how often each is seen beside the others, at least 0; None for shuffled epochs, in which all are
            seen alike.
    """

    codes: Tensor
    targets: PreparedTargets
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.codes) != len(self.targets):
            raise UsageError("targets", expected=f"{len(self.codes)} images", found=str(len(self.targets)))
        if self.weights is not None and (len(self.weights) != len(self.codes) or not _is_share(self.weights)):
            expected, found = f"{len(self.codes)} finite numbers >= 0, not all 0", f"{len(self.weights)} numbers"
            raise UsageError("weights", expected=expected, found=found, remedy="leave them out for equal weights")

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(eq=False)
class TuneState:
    """All that a run needs to go on: weights and moments by parameter name, and the losses so far."""

    step: int
    tensors: dict[str, Tensor]
    losses: list[float]


@dataclass(frozen=True, eq=False)
class TuneRun:
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
    resume: TuneState | None = None
    checkpoint: Callable[[TuneState], None] | None = None
    on_progress: OnProgress = ignore_progress


@dataclass(frozen=True)
class TuneResult:
    """What a run did.

    Attributes:
        steps: updates made in all.
        losses: mean loss of each update.
        stopped: ``"settled"``, ``"steps"`` or ``"time"``.
    """

    steps: int
    losses: tuple[float, ...] = field(repr=False)
    stopped: str


def tune(
    subject: FaceGenerator | AdaptedLearner,
    loss: ReconstructionLoss,
    new: TuningSet,
    replay: TuningSet | None,
    config: TuneConfig,
    run: TuneRun,
) -> TuneResult:
    """Tunes a generator, or the factors of a LoRA on one, in place.

    Args:
        subject: changed in place; left without gradients.
        loss: per image.
        new: this timestamp's images, at least one.
        replay: the buffer, None or empty for naive fine-tuning.
        config: steps, learning rate, mix.
        run: seed, deadline, resumption.

    Raises:
        UsageError: no new images.
        NumericalError: the loss left the finite numbers; the network is then unusable.
    """
    if not len(new):
        raise UsageError("new", expected="at least one image", found="none")
    learner = learner_of(subject)
    parameters = learner.parameters()
    rate = config.lora_learning_rate if isinstance(learner, AdaptedLearner) else config.learning_rate
    # Fused: one pass over weights and moments instead of a dozen, which would be a tenth of a step at 64 pixels.
    optimiser = torch.optim.Adam(parameters.values(), lr=rate, betas=(0.9, 0.999), fused=True)
    losses: list[float] = []
    if run.resume is not None:
        losses = _restore(run.resume, parameters, optimiser)
    reporter = ProgressReporter("tune", config.max_steps, run.on_progress)
    reporter.resume_at(len(losses))
    stopped, saved = "steps", time.monotonic()
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    try:
        while len(losses) < config.max_steps:
            if run.deadline is not None and time.monotonic() >= run.deadline:
                stopped = "time"
                break
            if _settled(losses, config.settle_window):
                stopped = "settled"
                break
            losses.append(_update(learner, loss, _mix(new, replay, config, run.seed, len(losses)), optimiser))
            reporter.advance(1, losses[-1])
            if run.checkpoint is not None and time.monotonic() - saved > _CHECKPOINT_SECONDS:
                run.checkpoint(_state(losses, parameters, optimiser))
                saved = time.monotonic()
    finally:
        optimiser.zero_grad(set_to_none=True)
        for parameter in parameters.values():
            parameter.requires_grad_(False)
    return TuneResult(len(losses), tuple(losses), stopped)


def _update(
    learner: Learner,
    loss: ReconstructionLoss,
    images: list[tuple[Tensor, PreparedTargets]],
    optimiser: torch.optim.Optimizer,
) -> float:
    optimiser.zero_grad(set_to_none=True)
    codes = torch.cat([part for part, _ in images])
    targets = images[0][1] if len(images) == 1 else PreparedTargets.join(*(part for _, part in images))
    with fast_numerics():
        value = loss(learner.render(codes, compute_dtype()), targets).mean()
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    found = float(value.detach())
    if not np.isfinite(found):
        remedy = "use a smaller tune.learning_rate"
        raise NumericalError("tuning", expected="a finite loss", found=str(found), remedy=remedy)
    return found


def _mix(
    new: TuningSet, replay: TuningSet | None, config: TuneConfig, seed: int, step: int
) -> list[tuple[Tensor, PreparedTargets]]:
    """The images of one update: the next few of the shuffled new ones, and of the shuffled buffer."""
    parts = [(new, config.new_per_step, 0)]
    if replay is not None and len(replay) and config.replay_per_step:
        parts.append((replay, config.replay_per_step, 1))
    found = []
    for images, count, stream in parts:
        if images.weights is None:
            index = _deal(len(images), count, (seed, stream), step)
        else:
            index = _draw(images.weights, count, (seed, stream), step)
        found.append((images.codes[index], images.targets[index]))
    return found


def _deal(size: int, count: int, key: tuple[int, int], step: int) -> Tensor:
    """Indices of one step: every epoch is a new shuffle, a function of key and epoch alone."""
    places = np.arange(step * count, (step + 1) * count)
    shuffles = {
        int(epoch): np.random.default_rng([*key, int(epoch)]).permutation(size) for epoch in set(places // size)
    }
    return torch.tensor([int(shuffles[int(place // size)][place % size]) for place in places])


def _draw(weights: tuple[float, ...], count: int, key: tuple[int, int], step: int) -> Tensor:
    """Indices of one step, drawn by weight: a function of key and step alone; distinct where enough have weight."""
    share = np.array(weights) / sum(weights)
    repeats = bool(np.count_nonzero(share) < count)
    return torch.from_numpy(np.random.default_rng([*key, step]).choice(len(share), count, replace=repeats, p=share))


def _is_share(weights: tuple[float, ...]) -> bool:
    return all(0 <= one < float("inf") for one in weights) and sum(weights) > 0


def _settled(losses: list[float], window: int) -> bool:
    """Whether the mean loss of the last window is within one percent of the window before it."""
    if not window or len(losses) < 2 * window or len(losses) % window:
        return False
    before, now = np.mean(losses[-2 * window : -window]), np.mean(losses[-window:])
    return bool(now > 0.99 * before)


def _state(losses: list[float], parameters: dict[str, nn.Parameter], optimiser: torch.optim.Optimizer) -> TuneState:
    tensors: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        moments = optimiser.state[parameter]
        tensors[f"weight.{name}"] = parameter.detach().clone()
        tensors[f"mean.{name}"] = moments["exp_avg"].clone()
        tensors[f"square.{name}"] = moments["exp_avg_sq"].clone()
    return TuneState(len(losses), tensors, list(losses))


@torch.no_grad()
def _restore(state: TuneState, parameters: dict[str, nn.Parameter], optimiser: torch.optim.Optimizer) -> list[float]:
    for name, parameter in parameters.items():
        parameter.copy_(state.tensors[f"weight.{name}"])
        optimiser.state[parameter] = {
            "step": torch.tensor(float(state.step)),
            "exp_avg": state.tensors[f"mean.{name}"].clone(memory_format=torch.preserve_format),
            "exp_avg_sq": state.tensors[f"square.{name}"].clone(memory_format=torch.preserve_format),
        }
    return list(state.losses)
