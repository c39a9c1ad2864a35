"""A whole update, photos to commit, on the embedded album: seconds a photo."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from everface.bench.common import Full, Listen, Row
from everface.bench.demo_album import unpack_demo_album
from everface.engine.config import EngineConfig
from everface.engine.progress import OnProgress, Progress, ProgressReporter, ignore_progress
from everface.engine.session import Engine

GOAL, MEMORY_GOAL = 2.5, 400.0  # seconds a photo on two cores without AMX; MiB


@dataclass
class _Stages:
    """Passes progress on and remembers when each stage was last heard of: seconds, and processor seconds."""

    on_progress: OnProgress
    heard: dict[str, tuple[float, float]] = field(default_factory=lambda: {"start": _now()})

    def __call__(self, progress: Progress) -> None:
        self.heard[progress.stage] = _now()
        self.on_progress(progress)

    def rows(self, case: str, photos: int) -> list[Row]:
        """What each stage took of the processor, a photo; ``rest`` follows tuning: measuring, choosing, storing."""
        marks = [*self.heard.items(), ("rest", _now())]
        return [
            Row(case, f"{stage}, processor time", (end[1] - start[1]) / photos, "s/photo")
            for (_, start), (stage, end) in itertools.pairwise(marks)
        ]


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def update_rows(base: str, updates: int = 2, on_progress: OnProgress = ignore_progress) -> list[Row]:
    """The first updates of a new workspace with the default configuration; each later one replays the earlier ones.

    Args:
        base: its name.
        updates: how many of the album's four batches.
        on_progress: hears the stages of each update.
    """
    rows = []
    with tempfile.TemporaryDirectory(prefix="everface-update-") as scratch:
        folder = Path(scratch)
        batches = unpack_demo_album(folder / "photos")[:updates]
        with Engine.create(folder / "me.everface", EngineConfig(base=base)) as engine:
            for number, (_, photos, _) in enumerate(batches, 1):
                stages = _Stages(on_progress)
                report = engine.update([os.fspath(photo) for photo in photos], on_progress=stages)
                case = f"{base} update {number}, {len(photos)} photos, {report.steps} steps"
                rows += stages.rows(case, len(photos))
        for number, (_, photos, _) in enumerate(batches, 1):
            case = f"{base} update {number}, {len(photos)} photos, a process of its own"
            rows += process_rows(case, folder / "again.everface", base, photos)
    return rows


def process_rows(case: str, workspace: Path, base: str, photos: Sequence[Path]) -> list[Row]:
    """``everface update`` as a user starts it, imports included: time and memory; the workspace is made if need be."""
    command = [sys.executable, "-m", "everface"]
    if not workspace.exists():
        subprocess.run([*command, "init", workspace, "--base", base], check=True, capture_output=True)
    start = time.perf_counter()
    child = subprocess.Popen([*command, "update", workspace, *photos, "--json"], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise RuntimeError(f"everface update ended with {os.waitstatus_to_exitcode(status)}")
    memory = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return [
        Row(case, "update", seconds / len(photos), "s/photo").beside("bound", GOAL),
        Row(case, "update, processor time", (usage.ru_utime + usage.ru_stime) / len(photos), "s/photo"),
        Row(case, "peak memory", memory, "MiB").beside("bound", MEMORY_GOAL),
    ]


def run(*, full: Full = False, on_progress: Listen = ignore_progress) -> list[Row]:
    """One update from base64; ``full``: two updates, the second with replay, also from base128."""
    bases = ("base64", "base128") if full else ("base64",)
    reporter = ProgressReporter("update", len(bases), on_progress)
    rows: list[Row] = []
    for base in bases:
        rows += update_rows(base, 2 if full else 1, on_progress)
        reporter.advance()
    return rows
