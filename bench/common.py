"""What all benchmarks share: rows, interleaved timing, the machine, JSON."""

from __future__ import annotations

import argparse
import dataclasses
import gc
import importlib.metadata
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from everface import _native
from everface.bench.progress import PlainProgress
from everface.engine.errors import UsageError
from everface.engine.progress import OnProgress


@dataclass(frozen=True)
class Row:
    """One measurement, alone or beside a peer's.

    Attributes:
        case: what was measured, such as ``"float64 m=50 outside"``.
        metric: such as ``"throughput"``, ``"time"`` or ``"score"``.
        value: ours.
        unit: spelled out, such as ``"queries/s"`` or ``"ms/image"``.
        peer: lower-case identifier of whom we compare with, None for nobody.
        peer_value: the peer's; None where there is no peer or it is not installed.
        ratio: above 1 always means better than the peer.
        repeats: measurements behind each median.
        spread: interquartile range of ours, in the unit.
    """

    case: str
    metric: str
    value: float
    unit: str
    peer: str | None = None
    peer_value: float | None = None
    ratio: float | None = None
    repeats: int = 1
    spread: float = 0.0

    def __post_init__(self) -> None:
        for name in ("case", "metric", "unit"):
            if not getattr(self, name):
                raise UsageError(f"row.{name}", expected="a text", found="nothing")
        for name in ("value", "spread"):
            if not math.isfinite(getattr(self, name)):
                raise UsageError(f"row.{name}", expected="a finite number", found=repr(getattr(self, name)))
        if self.repeats < 1 or self.spread < 0:
            raise UsageError("row", expected="repeats >= 1, spread >= 0", found=f"{self.repeats}, {self.spread}")
        if self.peer is not None and self.peer != self.peer.lower():
            raise UsageError("row.peer", expected="a lower-case identifier", found=repr(self.peer))
        if (self.ratio is None) != (self.peer_value is None) or (self.peer is None and self.ratio is not None):
            raise UsageError("row", expected="ratio, peer_value and peer together", found=f"{self.peer}, {self.ratio}")


@dataclass(frozen=True)
class BenchResult:
    """All rows of one benchmark, the machine, and the peers that are not installed."""

    name: str
    rows: tuple[Row, ...]
    machine: Mapping[str, Any]
    missing: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The benchmark contract: ``{"machine": {...}, "rows": [...]}``; missing peers are named in the machine."""
        rows = [dataclasses.asdict(row) for row in self.rows]
        return {"benchmark": self.name, "machine": {**self.machine, "missing_peers": list(self.missing)}, "rows": rows}


@dataclass(frozen=True)
class Timing:
    """Seconds of one function over interleaved repeats: median, interquartile range, count."""

    median: float
    spread: float
    repeats: int

    @classmethod
    def of(cls, samples: list[float]) -> Timing:
        """Summarises samples."""
        if len(samples) < 2:
            return cls(samples[0], 0.0, 1)
        low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
        return cls(statistics.median(samples), high - low, len(samples))


def interleave(runs: Mapping[str, Callable[[], object]], repeats: int, warm: bool = True) -> dict[str, Timing]:
    """Times functions in turn, so that drift of the machine meets all of them alike."""
    samples: dict[str, list[float]] = {name: [] for name in runs}
    if warm:
        for run in runs.values():
            run()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(repeats):
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                samples[name].append(time.perf_counter() - start)
    finally:
        if was_enabled:
            gc.enable()
    return {name: Timing.of(values) for name, values in samples.items()}


def compare(  # noqa: PLR0913
    case: str, metric: str, ours: float, unit: str, *, peer: str, theirs: float | None, lower_is_better: bool,
    repeats: int = 1, spread: float = 0.0,
) -> Row:  # fmt: skip
    """A row beside a peer; ``theirs=None`` says that the peer is missing."""
    ratio = None
    if theirs is not None:
        better, worse = (theirs, ours) if lower_is_better else (ours, theirs)
        ratio = better / worse if worse else (1.0 if better == worse else 1e9)
    return Row(case, metric, ours, unit, peer, theirs, ratio, repeats, spread)


def installed(*packages: str) -> str | None:
    """None where all are installed, else the first that is not."""
    for package in packages:
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return package
    return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    """What the numbers depend on: processor, cores, load, versions."""
    versions = {}
    for package in ("everface", "numpy", "scipy", "torch", "onnxruntime", "openvino"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(),
        "cores": cores,
        "isa": _native.cpu_isa(),
        "cuda": _native.cuda_status()[1],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else [],
    }


def write_json(result: BenchResult, path: Path) -> None:
    """Writes ``BenchResult.to_json``, readable and stable."""
    path.write_text(json.dumps(result.to_json(), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def command_line(
    name: str, about: str | None, run: Callable[[bool, OnProgress], BenchResult], arguments: list[str] | None = None
) -> int:
    """``python -m everface.bench.NAME [--full] [--json FILE]``: runs with progress, writes the file, prints rows."""
    parser = argparse.ArgumentParser(prog=f"python -m everface.bench.{name}", description=about)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    result = run(chosen.full, PlainProgress())
    if chosen.json:
        write_json(result, chosen.json)
    print_rows(result)
    return 0


def print_rows(result: BenchResult) -> None:
    """A line for each row on standard output."""
    for row in result.rows:
        beside = "" if row.ratio is None else f"  {row.ratio:8.2f}x {row.peer} ({row.peer_value:.4g})"
        sys.stdout.write(f"{row.case:58s} {row.metric:15s} {row.value:12.5g} {row.unit}{beside}\n")
