"""LoRA against full tuning on the embedded album: what is learned, forgotten and stored.

Three outings of the synthetic person are learned one after the other from the same anchors, with three photos kept.
Losses are those of the stored half-precision weights; identity is the mean best cosine of generated pictures to photos
that were held out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from everface.bench.common import Full, Listen, Row
from everface.bench.demo_album import prepare_demo_album
from everface.bench.protocol import IDENTITY, LEARNED, LOSS, Judge, ProtocolConfig, run_method
from everface.bench.sequence import first_model, inverted_batch, method_steps
from everface.engine.config import EngineConfig, TuneConfig
from everface.engine.generators.weights import read_arrays
from everface.engine.learn.backend import open_backend
from everface.engine.photos import FaceModels
from everface.engine.progress import ProgressReporter, ignore_progress

_OUTINGS = 3
_METHODS = ((0, 3e-3), (1, 3e-2), (4, 3e-2))
"""Ranks (0 tunes the whole generator) and learning rates."""


def run(*, full: Full = False, on_progress: Listen = ignore_progress) -> list[Row]:
    """Updates of 24 steps, or of 300."""
    steps, config = 300 if full else 24, EngineConfig()
    backend = open_backend(config)
    album = prepare_demo_album(backend.shape.resolution, config.photo, FaceModels.load(), on_progress).batches[
        :_OUTINGS
    ]
    batches = [inverted_batch(backend, batch, config.invert, backend.embed) for batch in album]
    reporter = ProgressReporter("tune", _OUTINGS * len(_METHODS), on_progress)
    rows = []
    for rank, rate in _METHODS:
        tune = TuneConfig(steps, rate, lora_rank=rank, lora_learning_rate=rate, settle_window=0)
        protocol = ProtocolConfig(tune=tune)
        own = open_backend(replace(config, tune=tune))
        metrics = (LOSS, LEARNED, IDENTITY)
        judge = Judge(own, batches, own.embed, protocol.evaluate, protocol.samples, protocol.seed, metrics)
        learn = protocol.method("er-hull")
        first = first_model(own, batches[0], learn)
        result = run_method("er-hull", judge, method_steps("er-hull", own, first, batches, learn), reporter)
        case = f"{f'LoRA rank {rank}' if rank else 'full'}, rate {rate:g}, {steps} steps"
        rows.append(Row(case, "loss just learned", float(np.diag(result.matrices[LEARNED]).mean()), "loss"))
        for metric in metrics:
            rows.append(Row(case, f"{metric}, last model", float(result.matrices[metric][-1].mean()), metric))
            rows.append(Row(case, f"{metric}, forgetting", result.summary(metric).forgetting, metric))
        trained = sum(array.size for array in read_arrays(result.model, "model").values())
        rows.append(Row(case, "model file", float(len(result.model)), "bytes"))
        rows.append(Row(case, "stored", float(trained), "parameters"))
    return rows
