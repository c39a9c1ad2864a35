"""Exports: size, load time, first image, steady latency and error of every target and precision, beside peers."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from everface.bench.baselines.exports import openvino_runner, traced_reference
from everface.bench.common import BenchResult, Row, command_line, compare, installed, interleave, machine
from everface.engine.generators.bases import load_base
from everface.engine.generators.stylegan2 import Generator, StyleGAN2Config
from everface.engine.latents.space import normal_z
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress
from everface.export.model2d import Model2D
from everface.export.recipe import PRECISIONS, ExportRecipe, Tolerance
from everface.export.report import ExportReport
from everface.export.stages import export_model

Array = NDArray[np.float32]
THREADS = 2
FIRST_IMAGE_BOUND = 1.0  # seconds
MEMORY_BOUND = 2.5  # times the file
_ANCHORS = 12
# Random weights have no identity to lose: any error is reported, and only NaN fails.
_ANY = Tolerance(max_error=1e3)


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

    def exportable(self) -> Model2D:
        """What the exporter takes."""
        return Model2D(self.generator.weights(), [self.anchors])


def measure(model: Model, targets: tuple[str, ...], repeats: int) -> list[Row]:
    """All rows of one model but those of its bundle."""
    ws = np.repeat(model.anchors[:1, None], model.generator.config.num_ws, axis=1)
    rows: list[Row] = []
    runs: dict[str, Callable[[], object]] = {}
    loads: dict[str, Callable[[], object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        reference = traced_reference(model.generator.synthesis, torch.from_numpy(ws))
        peers = _peers(model, reference, ws, Path(folder))
        reports: dict[str, ExportReport] = {}
        for target in targets:
            for precision in PRECISIONS:
                name = f"{target} {precision}"
                reports[name] = report = _export(model, target, precision, Path(folder))
                if not target.startswith("tensorrt"):
                    data = report.files[0].path.read_bytes()
                    loads[name] = lambda data=data: _session(data)  # type: ignore[misc]
                    runs[name] = _runner(data, ws)
        first = {name: _first(load, ws) for name, load in {**loads, "peer": lambda: _session(reference)}.items()}
        times = interleave({**runs, **peers}, repeats)
        for name, report in reports.items():
            rows += _file_rows(f"{model.name} {name}", report, len(reference))
            if name in runs:
                rows += _time_rows(f"{model.name} {name}", name, times, first, tuple(peers))
    return rows


def _export(model: Model, target: str, precision: str, folder: Path) -> ExportReport:
    recipe = ExportRecipe(target, precision, graphs=("synthesis",), samples=4, tolerance=_ANY)
    path = folder / f"{target}-{precision}{recipe.suffix}"
    return export_model(model.exportable(), path, recipe)


def _peers(model: Model, reference: bytes, ws: Array, folder: Path) -> dict[str, Callable[[], object]]:
    peers: dict[str, Callable[[], object]] = {"torch-onnx-reference": _runner(reference, ws)}
    if installed("openvino") is None:
        portable = _export(model, "onnx", "fp32", folder).files[0].path.read_bytes()
        render = openvino_runner(portable, THREADS)
        peers["openvino-f32"] = lambda: render(ws)
    return peers


def _session(data: bytes) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _runner(data: bytes, ws: Array) -> Callable[[], object]:
    session = _session(data)
    return lambda: session.run(None, {"ws": ws})[0]


def _first(load: Callable[[], Any], ws: Array, repeats: int = 3) -> tuple[float, float]:
    """Medians of the seconds that loading takes, and loading with the first image."""
    loads, firsts = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        session = load()
        loads.append(time.perf_counter() - start)
        session.run(None, {"ws": ws})
        firsts.append(time.perf_counter() - start)
    return statistics.median(loads), statistics.median(firsts)


def _file_rows(case: str, report: ExportReport, reference: int) -> list[Row]:
    file = report.files[0]
    parity = file.parity
    size = compare(
        case, "size", float(file.bytes), "bytes", peer="torch-onnx-reference", theirs=float(reference),
        lower_is_better=True,
    )  # fmt: skip
    rows = [size, Row(case, "max error", parity.max_error, "image values")]
    if parity.perceptual is not None and parity.identity_drift is not None:
        rows.append(Row(case, "MobileNetV2 distance", parity.perceptual, "distance"))
        rows.append(Row(case, "identity drift", parity.identity_drift, "distance"))
    if parity.not_run:
        rows.append(Row(case, "build and proof of the ONNX graph", report.seconds, "s"))
    return rows


def _time_rows(
    case: str, name: str, times: dict[str, Any], first: dict[str, tuple[float, float]], peers: tuple[str, ...]
) -> list[Row]:
    rows = [
        compare(
            case, metric, 1e3 * first[name][i], "ms", peer="torch-onnx-reference", theirs=1e3 * first["peer"][i],
            lower_is_better=True, repeats=3,
        )
        for i, metric in enumerate(("load", "load and first image"))
    ]  # fmt: skip
    mine = times[name]
    return rows + [
        compare(
            case, "time", 1e3 * mine.median, "ms/image", peer=peer, theirs=1e3 * times[peer].median,
            lower_is_better=True, repeats=mine.repeats, spread=1e3 * mine.spread,
        )
        for peer in peers
    ]  # fmt: skip


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
memory = [1024 * one for one in (kib("VmRSS"), kib("VmHWM"), before)]
used = resource.getrusage(resource.RUSAGE_SELF)
processor = used.ru_utime + used.ru_stime
print(json.dumps([imported - start, opened - imported, done - opened, *memory, processor]))
"""


def bundle_rows(model: Model, precision: str, repeats: int) -> list[Row]:
    """Seconds from the import to the first image of a bundle in a process of its own, and what it then holds."""
    case = f"{model.name} bundle {precision}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "person.bundle"
        report = export_model(model.exportable(), path, ExportRecipe("bundle", precision, samples=2, tolerance=_ANY))
        measured = np.array([_probe(path) for _ in range(repeats)])
    seconds, size = measured[:, :3].sum(axis=1), report.files[0].bytes
    spread = float(np.subtract(*np.percentile(seconds, [75, 25])))
    middle = np.median(measured, axis=0)
    first = compare(
        case, "import, load and first image", float(np.median(seconds)), "s", peer="bound", theirs=FIRST_IMAGE_BOUND,
        lower_is_better=True, repeats=repeats, spread=spread,
    )  # fmt: skip
    # Python, numpy and ONNX Runtime take the same whatever the model: both are told.
    memory = [
        compare(
            case, metric, value, "bytes", peer="bound", theirs=MEMORY_BOUND * size, lower_is_better=True,
            repeats=repeats,
        )
        for metric, value in (
            ("resident memory of the process", float(middle[3])),
            ("resident memory beyond the imports", float(middle[3] - middle[5])),
        )
    ]  # fmt: skip
    names = ("import", "open", "load graph and first image")
    parts = [Row(case, name, float(middle[i]), "s", repeats=repeats) for i, name in enumerate(names)]
    # Beside others on the same cores, seconds on the clock say little.
    processor = Row(case, "processor time of the whole process", float(middle[6]), "s", repeats=repeats)
    peak = Row(case, "peak memory of the process", float(middle[4]), "bytes", repeats=repeats)
    return [Row(case, "size", float(size), "bytes"), first, *parts, processor, *memory, peak]


def _probe(path: Path) -> list[float]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, str(path)], capture_output=True, text=True, check=True, env=environment
    )
    return [float(one) for one in json.loads(done.stdout)]


def run(full: bool = False, on_progress: OnProgress = ignore_progress) -> BenchResult:
    """Runs the benchmark: within minutes by default."""
    rtx = installed("tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs")
    targets = ("onnx", "ort") if rtx else ("onnx", "ort", "tensorrt-rtx")
    shapes = ((64, 4096), (128, 4096), (256, 16384)) if full else ((64, 4096), (128, 4096))
    reporter = ProgressReporter("export", 2 * len(shapes), on_progress)
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    rows: list[Row] = []
    try:
        for resolution, channel_base in shapes:
            model = Model.of(resolution, channel_base)
            rows += measure(model, targets if resolution == 64 or full else ("onnx",), 15 if full else 5)
            reporter.advance()
            for precision in PRECISIONS if full else (("fp32", "int8") if resolution == 128 else ()):
                rows += bundle_rows(model, precision, 5 if full else 3)
            reporter.advance()
    finally:
        torch.set_num_threads(before)
    missing = [name for name, package in (("openvino-f32", "openvino"),) if installed(package)]
    missing += ["tensorrt-rtx"] if rtx else []
    return BenchResult("export", tuple(rows), machine(), tuple(missing))


def main(arguments: list[str] | None = None) -> int:
    """``python -m everface.bench.export [--full] [--json FILE]``."""
    return command_line("export", __doc__, run, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
