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
import torch

from everface.bench.buffer import Buffer
from everface.bench.common import BenchResult, Row, machine, print_rows, write_json
from everface.bench.progress import PlainProgress
from everface.bench.replay_experiment.encode import Settings, loss_at
from everface.bench.replay_experiment.methods import Method, allowance
from everface.engine.config import EngineConfig, TuneConfig
from everface.engine.generators.stylegan2 import Generator
from everface.engine.latents.invert import reconstruction_losses
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress
from everface.engine.replay.policies.spread import spread_of
from everface.engine.session.kit import Kit, to_images, to_tensor
from everface.engine.tune.distil import distilled, evenly, replay_of
from everface.engine.tune.loop import TuneRun, TuningSet, tune

__all__ = ["Growth", "growth_rows", "main", "measure_growth"]

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
    generator: Generator,
    loss: ReconstructionLoss,
    updates: int = UPDATES,
    method: str = "budgeted/distil",
    on_progress: OnProgress = ignore_progress,
) -> Growth:
    """Learns small batches of pictures of the generator itself, one after another.

    Args:
        generator: tuned in place.
        loss: of tuning.
        updates: how many.
        method: within 16 KiB.
        on_progress: hears the stage ``"updates"``.
    """
    reporter = ProgressReporter("updates", updates, on_progress)
    one, rng = Method.of(method), np.random.default_rng(0)
    limit = allowance(one, _ROOM, 0.0, generator.config.w_dim)
    buffer, anchors = Buffer(one.policy, limit.keeping, 0), list[np.ndarray]()
    config = TuneConfig(max_steps=2, settle_window=0)
    seconds, peak, kept = [], [], []
    for t in range(updates):
        codes = generator.mapping(torch.from_numpy(rng.standard_normal((_PHOTOS, generator.config.z_dim), np.float32)))
        codes = codes.detach()
        with torch.no_grad():
            images = np.roll(to_images(generator.synthesis(codes)), 1, axis=3)
        new = TuningSet(codes, loss.prepare(to_tensor(images)))
        began = time.process_time()
        old = distilled(generator, loss, evenly(anchors, limit.codes, np.random.default_rng(4)))
        replay = replay_of(buffer.replay(loss), old)
        tune(generator, loss, new, replay, config, TuneRun(seed=t))
        losses = reconstruction_losses(generator, loss, new.targets, new.codes).numpy()
        buffer.take(t, images, codes.numpy(), spread_of(codes.numpy()), losses)
        anchors.append(codes.numpy())
        seconds.append(time.process_time() - began)
        peak.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
        kept.append(sum(buffer.sizes()))
        reporter.advance()
    return Growth(tuple(seconds), tuple(peak), tuple(kept))


def growth_rows(found: Growth) -> tuple[Row, ...]:
    """Time and memory of the last quarter of the updates beside the second one, when the buffer is full."""
    quarter = len(found.seconds) // 4
    case, early, late = (
        f"{len(found.seconds)} timestamps",
        found.seconds[quarter : 2 * quarter],
        found.seconds[-quarter:],
    )
    times = [float(np.median(part)) for part in (early, late)]
    memory = [part / 2**20 for part in (found.peak_bytes[2 * quarter - 1], found.peak_bytes[-1])]
    spread = float(np.subtract(*np.percentile(late, (75, 25))))
    return (
        Row(case, "time of an update, last quarter", times[1], "processor seconds", "second-quarter", times[0],
            times[0] / times[1], len(late), spread),
        Row(case, "peak memory at the end", memory[1], "MiB", "second-quarter", memory[0], memory[0] / memory[1]),
        Row(case, "bytes kept at the end", float(found.kept_bytes[-1]), "bytes"),
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m everface.bench.replay_experiment.growth", description=__doc__)
    parser.add_argument("--updates", type=int, default=UPDATES)
    parser.add_argument("--json", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    loss = loss_at(Settings().perceptual_side)
    generator = Kit(EngineConfig()).fresh_generator()
    found = measure_growth(generator, loss, chosen.updates, on_progress=PlainProgress())
    result = BenchResult("replay_growth", growth_rows(found), machine())
    write_json(result, chosen.json)
    print_rows(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
