"""Progress as values: library code reports, the caller shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["OnProgress", "Progress", "ProgressReporter", "ignore_progress"]


@dataclass(frozen=True)
class Progress:
    """How far a stage has come.

    Attributes:
        stage: what is being done, such as ``"invert"`` or ``"tune"``.
        done: units finished.
        total: units in all.
        seconds_left: estimated seconds until the stage ends, None while unknown.
        loss: the current loss, None where there is none.
    """

    stage: str
    done: int
    total: int
    seconds_left: float | None = None
    loss: float | None = None


OnProgress = Callable[[Progress], None]


def ignore_progress(_: Progress) -> None:
    """The default listener."""


@dataclass
class ProgressReporter:
    """Turns steps into ``Progress`` values with an estimate of the time left."""

    stage: str
    total: int
    listener: OnProgress = ignore_progress
    done: int = 0
    _start: float = field(default_factory=time.monotonic)
    _first: int = 0

    def resume_at(self, done: int) -> None:
        """Starts counting at a step that an earlier run had reached."""
        self.done = self._first = done
        self._start = time.monotonic()

    def advance(self, count: int = 1, loss: float | None = None) -> None:
        """Reports that ``count`` more units are done."""
        self.done += count
        steps = self.done - self._first
        rate = (time.monotonic() - self._start) / steps if steps else None
        left = None if rate is None else max(0.0, rate * (self.total - self.done))
        self.listener(Progress(self.stage, self.done, self.total, left, loss))
