"""Exports: size, load time, first image, steady latency and error of every target and precision, beside peers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from everface.bench.baselines.synthesis import Run, grouped_synthesis, onnxruntime_session, openvino_run, traced
from everface.bench.common import Full, Listen, Row, Timing, installed, interleave, joined, missing_rows, threads, timed
from everface.engine.generators.bases import load_base
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.generators.stylegan2.generator import Generator
from everface.engine.latents.space import normal_z
from everface.engine.progress import ProgressReporter, ignore_progress
from everface.export.custom import CUSTOM_PRECISIONS, library_path
from everface.export.model2d import Model2D
from everface.export.recipe import PRECISIONS, ExportRecipe, Tolerance
from everface.export.report import ExportReport
from everface.export.stages import export_model

Array = NDArray[np.float32]
PACKAGES = {
    "openvino-f32": ("openvino",),
    "tensorrt-rtx": ("tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs"),
}
THREADS = 2
FIRST_IMAGE_BOUND = 1.0  # seconds
MEMORY_BOUND = 2.5  # times the file
_HELD = ("resident memory of the process", "resident memory beyond the imports")
_REFERENCE, _PORTABLE = "torch-onnx-reference", "onnxruntime-fp32"
_ANCHORS = 12
# Random weights have no identity to lose: any error is reported, and only NaN fails.
_RECIPE = ExportRecipe(graphs=("synthesis",), samples=4, tolerance=Tolerance(max_error=1e3))


@dataclass(frozen=True, eq=False)
class Model:
    """A generator and codes of a person who does not exist."""

    name: str
    generator: Generator
    anchors: Array

    @classmethod
    def of(cls, resolution: int, channel_base: int) -> Model:
        """The embedded base for 64/4096, random weights with noise switched on for anything else."""
        if (resolution, channel_base) == (64, 4096):
            generator = load_base("base64").generator
        else:
            torch.manual_seed(0)
            generator = Generator(StyleGAN2Config(resolution=resolution, channel_base=channel_base))
            for name, value in generator.named_parameters():
                if name.endswith("noise_strength"):
                    value.data.fill_(0.1)
            generator.eval().requires_grad_(False)
        with torch.no_grad():
            anchors = generator.mapping(normal_z(_ANCHORS, generator.config.z_dim, 1), psi=0.7).numpy()
        return cls(f"{resolution}/{channel_base}", generator, anchors)

    def export(self, recipe: ExportRecipe, folder: Path) -> tuple[ExportReport, bytes]:
        """Writes one file; returns what is said of it, and its bytes."""
        path = folder / f"{recipe.target}-{recipe.variant}-{recipe.precision}{recipe.suffix}"
        report = export_model(Model2D(self.generator.weights(), [self.anchors]), path, recipe)
        return report, report.files[0].path.read_bytes()


def recipes_of(targets: Sequence[str]) -> dict[str, ExportRecipe]:
    """By name: every target in every precision, and everface's operators for ONNX Runtime."""
    recipes = {
        f"{target} {precision}": replace(_RECIPE, target=target, precision=precision)
        for target in targets
        for precision in PRECISIONS
    }
    custom = {
        f"custom {precision}": replace(_RECIPE, precision=precision, variant="custom")
        for precision in CUSTOM_PRECISIONS
    }
    return recipes | custom


def measure(model: Model, targets: Sequence[str], repeats: int) -> list[Row]:
    """All rows of one model but those of its bundle."""
    ws = np.repeat(model.anchors[:1, None], model.generator.config.num_ws, axis=1)
    reference = traced(model.generator.synthesis, torch.from_numpy(ws), grouped_synthesis)
    loads: dict[str, Callable[[], Any]] = {_REFERENCE: partial(onnxruntime_session, reference, THREADS)}
    reports: dict[str, ExportReport] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, recipe in recipes_of(targets).items():
            reports[name], data = model.export(recipe, Path(folder))
            if not recipe.target.startswith("tensorrt"):
                library = library_path() if recipe.variant == "custom" else None
                loads[name] = partial(onnxruntime_session, data, THREADS, library)
        portable = model.export(_RECIPE, Path(folder))[1]
    first = {name: _first(load, ws) for name, load in loads.items()}
    runs: dict[str, Run] = {name: partial(load().run, None, {"ws": ws}) for name, load in loads.items()}
    if installed("openvino") is None:
        runs["openvino-f32"] = openvino_run(portable, ws, "f32", THREADS)
    times = interleave(runs, repeats)
    rows: list[Row] = []
    for name, report in reports.items():
        case = f"{model.name} {name}"
        rows += _file_rows(case, report, len(reference))
        if name not in times:
            continue
        for metric, ours, theirs in zip(("load", "load and first image"), first[name], first[_REFERENCE], strict=True):
            rows.append(ours.row(case, "ms", metric=metric).beside(_REFERENCE, 1e3 * theirs.median))
        beside = {peer: times[peer] for peer in (_REFERENCE, "openvino-f32") if peer in times}
        if name.startswith("custom") and "onnx fp32" in times:
            beside[_PORTABLE] = times["onnx fp32"]
        rows += times[name].rows(case, "ms/image", beside)
    return rows


def _first(load: Callable[[], Any], ws: Array, repeats: int = 3) -> tuple[Timing, Timing]:
    """What loading takes, and loading with the first image."""
    loads, firsts = [], []
    for _ in range(repeats):
        session, loading = timed(load)
        _, running = timed(partial(session.run, None, {"ws": ws}))
        loads.append(loading)
        firsts.append(Timing((loading.median + running.median,)))
    return joined(loads), joined(firsts)


def _file_rows(case: str, report: ExportReport, reference: int) -> list[Row]:
    file = report.files[0]
    parity = file.parity
    rows = [
        Row(case, "size", float(file.bytes), "bytes").beside(_REFERENCE, float(reference)),
        Row(case, "max error", parity.max_error, "image values"),
    ]
    if parity.perceptual is not None and parity.identity_drift is not None:
        rows.append(Row(case, "MobileNetV2 distance", parity.perceptual, "distance"))
        rows.append(Row(case, "identity drift", parity.identity_drift, "distance"))
    if parity.not_run:
        rows.append(Row(case, "build and proof of the ONNX graph", report.seconds, "s"))
    return rows


_PROBE = """
import json, resource, sys, time
start = time.perf_counter()
from everface.export.runtime import Runtime
import onnxruntime
imported = time.perf_counter()
def kib(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))
before = kib("VmRSS")
runtime = Runtime.open(sys.argv[1], threads=2)
opened = time.perf_counter()
runtime.generate(1)
done = time.perf_counter()
used, held = resource.getrusage(resource.RUSAGE_SELF), kib("VmRSS")
print(json.dumps({
    "import, load and first image": done - start, "import": imported - start, "open": opened - imported,
    "load graph and first image": done - opened, "processor time of the whole process": used.ru_utime + used.ru_stime,
    "resident memory of the process": 1024 * held, "resident memory beyond the imports": 1024 * (held - before),
    "peak memory of the process": 1024 * kib("VmHWM"),
}))
"""


def bundle_rows(model: Model, precision: str, repeats: int) -> list[Row]:
    """Seconds from the import to the first image of a bundle in a process of its own, and what it then holds."""
    case = f"{model.name} bundle {precision}"
    with tempfile.TemporaryDirectory() as folder:
        recipe = replace(_RECIPE, target="bundle", precision=precision, graphs=(), samples=2)
        report, data = model.export(recipe, Path(folder))
        probes = [_probe(report.files[0].path) for _ in range(repeats)]
    # Python, numpy and ONNX Runtime take the same whatever the model: memory is told with and without.
    most = MEMORY_BOUND * len(data)
    bounds = {"import, load and first image": FIRST_IMAGE_BOUND} | dict.fromkeys(_HELD, most)
    rows = [Row(case, "size", float(len(data)), "bytes")]
    for metric in probes[0]:
        middle, unit = float(np.median([probe[metric] for probe in probes])), "bytes" if "memory" in metric else "s"
        row = Row(case, metric, middle, unit, repeats=repeats)
        rows.append(row.beside("bound", bounds[metric]) if metric in bounds else row)
    return rows


def _probe(path: Path) -> Mapping[str, float]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, str(path)], capture_output=True, text=True, check=True, env=environment
    )
    values: dict[str, float] = json.loads(done.stdout)
    return values


def run(*, full: Full = False, on_progress: Listen = ignore_progress) -> list[Row]:
    """Runs the benchmark: within minutes by default."""
    rtx = () if installed(*PACKAGES["tensorrt-rtx"]) else ("tensorrt-rtx",)
    targets = ("onnx", "ort", *rtx)
    shapes = ((64, 4096), (128, 4096), (256, 16384)) if full else ((64, 4096), (128, 4096))
    reporter = ProgressReporter("export", 2 * len(shapes), on_progress)
    rows = missing_rows(PACKAGES)
    with threads(THREADS):
        for resolution, channel_base in shapes:
            model = Model.of(resolution, channel_base)
            rows += measure(model, targets if resolution == 64 or full else ("onnx",), 15 if full else 5)
            reporter.advance()
            for precision in PRECISIONS if full else (("fp32", "int8") if resolution == 128 else ()):
                rows += bundle_rows(model, precision, 5 if full else 3)
            reporter.advance()
    return rows
