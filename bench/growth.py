"""200 small updates of one model: do their time and memory stay flat?"""

from __future__ import annotations

import resource
import sys
from functools import partial

import numpy as np

from everface.bench.common import Full, Listen, Row, joined, timed
from everface.bench.keeping import remembered
from everface.bench.replay_experiment.encode import Settings
from everface.bench.replay_experiment.methods import Method, allowance
from everface.engine.config import EngineConfig, TuneConfig
from everface.engine.latents.invert import Inversion
from everface.engine.learn.backend import Backend, open_backend
from everface.engine.learn.timestep import learn
from everface.engine.learn.values import LearnSettings, Memory, NewPhotos
from everface.engine.pictures import to_uint8
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress

_PHOTOS = 4
_ROOM = "16KiB"


def growth_rows(
    backend: Backend, updates: int, method: str = "budgeted/distil", on_progress: OnProgress = ignore_progress
) -> list[Row]:
    """Learns small batches of pictures of the generator itself, one after another.

    Args:
        backend: of the base.
        updates: how many.
        method: within 16 KiB.
        on_progress: hears the stage ``"updates"``.

    Returns:
        Time and memory of the last quarter of the updates beside the second one, when the buffer is full.
    """
    reporter = ProgressReporter("updates", updates, on_progress)
    named, rng, shape = Method.of(method), np.random.default_rng(0), backend.shape
    limit = allowance(named, _ROOM, 0.0, shape.w_dim)
    tune = TuneConfig(max_steps=2, settle_window=0, distil_codes=limit.codes)
    settings = limit.keeping.within(LearnSettings(named.policy, tune))
    model: bytes | None = None
    memory, samples, peak = Memory.empty(shape), [], []
    for _ in range(updates):
        now = backend.model(model)
        codes = now.map(rng.standard_normal((_PHOTOS, shape.z_dim), np.float32))
        images = np.roll(to_uint8(now.render(codes)), 1, axis=3)
        stored, sizes = zip(*(limit.keeping.store(image) for image in images), strict=True)
        anchors = Inversion(codes, np.zeros(_PHOTOS, np.float32))
        new = NewPhotos(images, np.zeros((_PHOTOS, 0)), np.array(sizes, np.int64), anchors)
        step, took = timed(partial(learn, backend, model, new, memory, settings))
        samples.append(took)
        model, memory = step.model, remembered(memory, new, step, np.stack(stored))
        peak.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
        reporter.advance()
    quarter, case, peer = updates // 4, f"{updates} timestamps", "second-quarter"
    early, late = (joined(part).processor for part in (samples[quarter : 2 * quarter], samples[-quarter:]))
    memory_early, memory_late = (bytes_ / 2**20 for bytes_ in (peak[2 * quarter - 1], peak[-1]))
    return [
        late.row(case, "processor seconds", 1.0, "time of an update, last quarter").beside(peer, early.median),
        Row(case, "peak memory at the end", memory_late, "MiB").beside(peer, memory_early),
        Row(case, "bytes kept at the end", float(memory.bytes.sum()), "bytes"),
    ]


def run(*, full: Full = False, updates: int = 50, on_progress: Listen = ignore_progress) -> list[Row]:
    """Makes 50 updates, or 200.

    Args:
        full: the committed length.
        updates: another length.
        on_progress: hears the updates.
    """
    backend = open_backend(EngineConfig(), side=Settings().perceptual_side)
    return growth_rows(backend, 200 if full else updates, on_progress=on_progress)
