"""The loop of every training run: updates until it is done or out of time, with a state to go on from."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from everface.engine.errors import CheckpointError, UsageError
from everface.engine.numerics import fast_numerics
from everface.engine.pretrain.distributed import Team
from everface.engine.pretrain.state import RunState, load_state, save_state
from everface.engine.progress import OnProgress, ProgressReporter

_SMOOTHING = 0.98


class Task(Protocol):
    """What a run trains: a 2D base with its encoder, an encoder alone, or a 3D base."""

    def begin(self, updates: int) -> None:
        """Seeds all draws, for the update of this number and those after it."""

    def update(self, number: int) -> dict[str, float]:
        """One update of all that is trained; returns losses by name, ``"loss"`` the one that progress shows.

        Raises:
            NumericalError: a loss left the finite numbers.
        """
        ...

    def average(self, shown: int) -> None:
        """Moves the averaged weights towards the trained ones, after so many pictures in all."""

    def tensors(self) -> dict[str, Tensor]:
        """All that a later call needs to go on, by name."""
        ...

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """The reverse; raises KeyError or RuntimeError for another run's."""

    def look(self) -> NDArray[np.uint8]:
        """Pictures [height, width, 3] that show how far the training has come."""
        ...


@dataclass(frozen=True)
class Plan:
    """How long a run goes on, and what makes it this run.

    Attributes:
        stage: its name for who listens to progress.
        folder: where the state and the sample grids lie.
        images: pictures until it is done.
        step: pictures an update of the whole team.
        snapshot_seconds: time between saved states and grids.
        identity: what must stay the same from the first call to the last (base, data, settings), as JSON.
    """

    stage: str
    folder: Path
    images: int
    step: int
    snapshot_seconds: float
    identity: str

    @property
    def state(self) -> Path:
        """The file of the saved state."""
        return self.folder / "state.safetensors"


@dataclass(eq=False)
class Loop:
    """A run under way.

    Attributes:
        task: what it trains.
        plan: how long.
        team: the processes that train it; the first one saves.
        updates, shown: how far it has come, in updates and in pictures.
        losses: smoothed, by name.
        curve: one entry a saved state: pictures shown, processor seconds of this call, losses.
    """

    task: Task
    plan: Plan
    team: Team
    updates: int = 0
    shown: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    curve: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def begin(cls, task: Task, plan: Plan, team: Team) -> Loop:
        """A new run, or where the one in the plan's folder ended.

        Raises:
            CheckpointError: the state there is of another run, or broken.
        """
        loop = cls(task, plan, team)
        if plan.state.exists():
            saved = load_state(plan.state)
            if saved.run != plan.identity:
                remedy = "use the same base, faces and settings, or another --out"
                raise CheckpointError(str(plan.state), expected=plan.identity, found=saved.run, remedy=remedy)
            try:
                task.restore(saved.tensors)
            except (KeyError, RuntimeError) as error:
                raise CheckpointError(str(plan.state), expected="a whole state", found=str(error)[:200]) from error
            loop.updates, loop.shown, loop.curve = saved.updates, saved.shown, saved.curve
        return loop

    def train(self, deadline: float | None, on_progress: OnProgress) -> None:
        """Updates until the plan's pictures were shown.

        Args:
            deadline: end, with a saved state, after this time of ``time.monotonic()``; None for no such end.
            on_progress: hears the plan's stage, counted in pictures.

        Raises:
            NumericalError: a loss left the finite numbers.
        """
        reporter = ProgressReporter(self.plan.stage, self.plan.images, on_progress)
        reporter.resume_at(self.shown)
        self.task.begin(self.updates)
        saved = time.monotonic()
        with fast_numerics():
            while self.shown < self.plan.images and not self._late(deadline):
                told = self.task.update(self.updates)
                self.updates += 1
                self.shown += self.plan.step
                self.task.average(self.shown)
                for name, value in told.items():
                    self.losses[name] = _SMOOTHING * self.losses.get(name, value) + (1 - _SMOOTHING) * value
                reporter.advance(self.plan.step, told["loss"])
                if time.monotonic() - saved > self.plan.snapshot_seconds:
                    self.save()
                    saved = time.monotonic()
        self.save()

    def save(self) -> None:
        """Writes the state, whole or not at all, and a grid to look at."""
        if self.team.rank:
            return
        told = {name: round(value, 5) for name, value in self.losses.items()}
        self.curve.append({"shown": self.shown, "processor": round(time.process_time(), 1)} | told)
        state = RunState(self.updates, self.shown, self.task.tensors(), self.curve, self.plan.identity)
        save_state(self.plan.state, state)
        self.picture(self.plan.folder / f"grid-{self.shown:08d}.png")

    def picture(self, path: Path) -> Path:
        """Writes what ``Task.look`` shows."""
        Image.fromarray(self.task.look()).save(path)
        return path

    def _late(self, deadline: float | None) -> bool:
        return self.team.agree(deadline is not None and time.monotonic() > deadline)


def run_folder(out: Path) -> Path:
    """The folder of a run's state, made beside the file that it will write.

    Raises:
        UsageError: the file's name does not end with ``.safetensors``.
    """
    if out.suffix != ".safetensors":
        raise UsageError("--out", expected="a .safetensors file", found=str(out), remedy="name such a file")
    folder = out.with_name(out.name + ".run")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
