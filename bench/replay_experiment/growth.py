"""200 small updates of one model: do their time and memory stay flat?

``python -m everface.bench.replay_experiment.growth --json FILE``.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from everface.bench.common import BenchResult, Row, machine, print_rows, write_json
from everface.bench.keeping import remembered
from everface.bench.progress import PlainProgress
from everface.bench.replay_experiment.encode import Settings
from everface.bench.replay_experiment.methods import Method, allowance
from everface.engine.config import EngineConfig, TuneConfig
from everface.engine.latents.invert import Inversion
from everface.engine.learn.backend import Backend, open_backend
from everface.engine.learn.timestep import learn
from everface.engine.learn.values import LearnSettings, Memory, NewPhotos
from everface.engine.pictures import to_uint8
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress

UPDATES = 200
_PHOTOS = 4
_ROOM = "16KiB"


@dataclass(frozen=True)
class Growth:
    """Of each update: processor seconds of tuning and choosing, the process's peak memory, bytes of kept photos."""

    seconds: tuple[float, ...]
    peak_bytes: tuple[int, ...]
    kept_bytes: tuple[int, ...]


def measure_growth(
    backend: Backend,
    updates: int = UPDATES,
    method: str = "budgeted/distil",
    on_progress: OnProgress = ignore_progress,
) -> Growth:
    """Learns small batches of pictures of the generator itself, one after another.

    Args:
        backend: of the base.
        updates: how many.
        method: within 16 KiB.
        on_progress: hears the stage ``"updates"``.
    """
    reporter = ProgressReporter("updates", updates, on_progress)
    named, rng, shape = Method.of(method), np.random.default_rng(0), backend.shape
    limit = allowance(named, _ROOM, 0.0, shape.w_dim)
    tune = TuneConfig(max_steps=2, settle_window=0, distil_codes=limit.distil_codes(named))
    settings = limit.keeping.within(LearnSettings(named.policy, tune))
    model: bytes | None = None
    memory = Memory.empty(shape)
    seconds, peak, kept = [], [], []
    for _ in range(updates):
        now = backend.model(model)
        codes = now.map(rng.standard_normal((_PHOTOS, shape.z_dim), np.float32))
        images = np.roll(to_uint8(now.render(codes)), 1, axis=3)
        stored, sizes = zip(*(limit.keeping.store(image) for image in images), strict=True)
        anchors = Inversion(codes, np.zeros(_PHOTOS, np.float32))
        new = NewPhotos(images, np.zeros((_PHOTOS, 0)), np.array(sizes, np.int64), anchors)
        began = time.process_time()
        step = learn(backend, model, new, memory, settings)
        seconds.append(time.process_time() - began)
        model, memory = step.model, remembered(memory, new, step, np.stack(stored))
        peak.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
        kept.append(int(memory.bytes.sum()))
        reporter.advance()
    return Growth(tuple(seconds), tuple(peak), tuple(kept))


def growth_rows(growth: Growth) -> tuple[Row, ...]:
    """Time and memory of the last quarter of the updates beside the second one, when the buffer is full."""
    quarter = len(growth.seconds) // 4
    case, early, late = (
        f"{len(growth.seconds)} timestamps",
        growth.seconds[quarter : 2 * quarter],
        growth.seconds[-quarter:],
    )
    times = [float(np.median(part)) for part in (early, late)]
    memory = [part / 2**20 for part in (growth.peak_bytes[2 * quarter - 1], growth.peak_bytes[-1])]
    spread = float(np.subtract(*np.percentile(late, (75, 25))))
    return (
        Row(case, "time of an update, last quarter", times[1], "processor seconds", "second-quarter", times[0],
            times[0] / times[1], len(late), spread),
        Row(case, "peak memory at the end", memory[1], "MiB", "second-quarter", memory[0], memory[0] / memory[1]),
        Row(case, "bytes kept at the end", float(growth.kept_bytes[-1]), "bytes"),
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m everface.bench.replay_experiment.growth", description=__doc__)
    parser.add_argument("--updates", type=int, default=UPDATES)
    parser.add_argument("--json", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    backend = open_backend(EngineConfig(), side=Settings().perceptual_side)
    growth = measure_growth(backend, chosen.updates, on_progress=PlainProgress())
    result = BenchResult("replay_growth", growth_rows(growth), machine())
    write_json(result, chosen.json)
    print_rows(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
