"""A whole update, photos to commit, on the embedded album: seconds a photo."""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from everface.bench.common import Full, Listen, Row
from everface.bench.demo_album import unpack_demo_album
from everface.bench.learning import CASES, learning_rows
from everface.engine.config import EngineConfig
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.progress import OnProgress, Progress, ProgressReporter, ignore_progress
from everface.engine.session import Engine

GOAL = 5.0  # seconds a photo
_CHANNEL_BASE, _CHANNEL_MAX = 4096, 256


def _base(resolution: int, folder: Path) -> str:
    """The embedded base at 64 pixels; random weights of the same width at others, as time does not depend on them."""
    if resolution == 64:
        return "base64"
    torch.manual_seed(0)
    config = StyleGAN2Config(resolution=resolution, channel_base=_CHANNEL_BASE, channel_max=_CHANNEL_MAX)
    generator = Generator(config).eval()
    path = folder / f"random{resolution}.safetensors"
    path.write_bytes(generator.to_bytes({"trained_on": "nothing", "terms": "none"}))
    return str(path)


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


def update_rows(resolution: int, updates: int = 2, on_progress: OnProgress = ignore_progress) -> list[Row]:
    """The first updates of a new workspace with the default configuration; each later one replays the earlier ones.

    Args:
        resolution: 64 (the embedded base) or another power of two (random weights, which start without an encoder).
        updates: how many of the album's four batches.
        on_progress: hears the stages of each update.
    """
    rows = []
    with tempfile.TemporaryDirectory(prefix="everface-update-") as scratch:
        folder = Path(scratch)
        batches = unpack_demo_album(folder / "photos")[:updates]
        with Engine.create(folder / "me.everface", EngineConfig(base=_base(resolution, folder))) as engine:
            for number, (_, photos, _) in enumerate(batches, 1):
                stages = _Stages(on_progress)
                report = engine.update([os.fspath(photo) for photo in photos], on_progress=stages)
                (seconds, used), (start, start_used) = _now(), stages.heard["start"]
                case = f"{resolution}/{_CHANNEL_BASE} update {number}, {len(photos)} photos, {report.steps} steps"
                rows.append(Row(case, "update", (seconds - start) / len(photos), "s/photo").beside("bound", GOAL))
                rows.append(Row(case, "update, processor time", (used - start_used) / len(photos), "s/photo"))
                rows += stages.rows(case, len(photos))
    return rows


def run(*, full: Full = False, on_progress: Listen = ignore_progress) -> list[Row]:
    """Steps and one update at 64 pixels; ``full``: two updates, the second with replay, also at 128 pixels."""
    resolutions = (64, 128) if full else (64,)
    steps = CASES if full else CASES[:1]
    reporter = ProgressReporter("update", len(resolutions) + len(steps), on_progress)
    rows: list[Row] = []
    for case in steps:
        rows += learning_rows(case, 9 if full else 3)
        reporter.advance()
    for resolution in resolutions:
        rows += update_rows(resolution, 2 if full else 1, on_progress)
        reporter.advance()
    return rows
