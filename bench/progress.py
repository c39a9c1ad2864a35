"""Progress as plain lines, for benchmarks whose output goes to a file."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TextIO

from everface.engine.progress import Progress


@dataclass
class PlainProgress:
    """A listener that writes a line when a stage ends and now and then while it lasts.

    Attributes:
        seconds: between lines of one stage, at the least.
        stream: where to; standard error by default.
    """

    seconds: float = 15.0
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    _last: float = field(default_factory=time.monotonic)

    def __call__(self, progress: Progress) -> None:
        """Hears of one step."""
        ends, now = progress.done >= progress.total, time.monotonic()
        if not ends and now - self._last < self.seconds:
            return
        self._last = now
        left = "" if ends or progress.seconds_left is None else f", {progress.seconds_left:.0f} s left"
        self.stream.write(f"{progress.stage} {progress.done}/{progress.total}{left}\n")
        self.stream.flush()
