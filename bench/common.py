"""What all benchmarks share: rows, interleaved timing, threads, the machine, JSON."""

from __future__ import annotations

import dataclasses
import gc
import importlib.metadata
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import Parameter

from everface import _native
from everface.engine.errors import UsageError
from everface.engine.progress import OnProgress

T = TypeVar("T")
Full = Annotated[bool, Parameter(help="The long run, whose results are committed.")]
Listen = Annotated[OnProgress, Parameter(parse=False)]
"""Of a benchmark's ``run``, whose other parameters are its options on the command line."""


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

    def beside(self, peer: str, theirs: float | None, *, higher: bool = False) -> Row:
        """The row with a peer's value; None says that the peer is missing. ``higher``: more is better."""
        if theirs is None:
            return dataclasses.replace(self, peer=peer)
        better, worse = (self.value, theirs) if higher else (theirs, self.value)
        ratio = better / worse if worse else (1.0 if better == worse else 1e9)
        return dataclasses.replace(self, peer=peer, peer_value=theirs, ratio=ratio)


@dataclass(frozen=True)
class BenchResult:
    """All rows of one benchmark, and what they depend on beside the machine."""

    name: str
    rows: tuple[Row, ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def missing(self) -> tuple[str, ...]:
        """Peers that are not installed."""
        absent = (row.peer for row in self.rows if row.peer is not None and row.peer_value is None)
        return tuple(dict.fromkeys(absent))

    def to_json(self) -> dict[str, Any]:
        """The benchmark contract: ``{"machine": {...}, "rows": [...]}``; missing peers are named in the machine."""
        rows = [dataclasses.asdict(row) for row in self.rows]
        about = {**machine(), **self.about, "missing_peers": list(self.missing)}
        return {"benchmark": self.name, "machine": about, "rows": rows}

    def write(self, path: Path) -> None:
        """Writes the JSON, readable and stable."""
        path.write_text(json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Timing:
    """Seconds of one function over interleaved repeats, by the clock and of the processor."""

    clock: tuple[float, ...]
    busy: tuple[float, ...] = ()

    @property
    def median(self) -> float:
        """By the clock."""
        return statistics.median(self.clock)

    @property
    def spread(self) -> float:
        """Interquartile range, 0 of one sample."""
        if len(self.clock) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.clock, n=4, method="inclusive")
        return high - low

    @property
    def processor(self) -> Timing:
        """The processor's seconds in place of the clock's."""
        return Timing(self.busy)

    def row(self, case: str, unit: str, scale: float = 1e3, metric: str = "time") -> Row:
        """The median, scaled from seconds to the unit."""
        spread = scale * self.spread
        return Row(case, metric, scale * self.median, unit, repeats=len(self.clock), spread=spread)

    def rows(self, case: str, unit: str, peers: Mapping[str, Timing], scale: float = 1e3) -> list[Row]:
        """As ``row``, beside each peer."""
        return [self.row(case, unit, scale).beside(peer, scale * theirs.median) for peer, theirs in peers.items()]


def timed(run: Callable[[], T]) -> tuple[T, Timing]:
    """What a function returns, and what one call takes."""
    start, used = time.perf_counter(), time.process_time()
    result = run()
    return result, Timing((time.perf_counter() - start,), (time.process_time() - used,))


def interleave(runs: Mapping[str, Callable[[], object]], repeats: int, warm: bool = True) -> dict[str, Timing]:
    """Times functions in turn, so that drift of the machine meets all of them alike."""
    samples: dict[str, list[Timing]] = {name: [] for name in runs}
    if warm:
        for run in runs.values():
            run()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(repeats):
            for name, run in runs.items():
                samples[name].append(timed(run)[1])
    finally:
        if was_enabled:
            gc.enable()
    return {name: joined(values) for name, values in samples.items()}


def joined(samples: list[Timing]) -> Timing:
    """Calls of one function as one timing."""
    return Timing(
        tuple(second for sample in samples for second in sample.clock),
        tuple(second for sample in samples for second in sample.busy),
    )


@contextmanager
def threads(count: int, torch_count: int | None = None) -> Iterator[None]:
    """So many threads for everface and PyTorch (``torch_count`` where that differs), and as before afterwards."""
    import torch

    before = torch.get_num_threads(), _native.get_threads()
    torch.set_num_threads(torch_count or count)
    _native.set_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        _native.set_threads(before[1])


def installed(*packages: str) -> str | None:
    """None where all are installed, else the first that is not."""
    for package in packages:
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return package
    return None


def missing_rows(peers: Mapping[str, tuple[str, ...]]) -> list[Row]:
    """A row for each peer of which a package is not installed."""
    absent = {name: package for name, packages in peers.items() if (package := installed(*packages))}
    return [Row(f"the package {package}", "missing", 1, "packages", name) for name, package in absent.items()]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """What the numbers depend on: processor, cores, load, versions."""
    packages = ("everface", "numpy", "scipy", "torch", "onnxruntime", "openvino")
    return {
        "processor": _processor(),
        "cores": cores(),
        "isa": _native.cpu_isa(),
        "cuda": _native.cuda_status()[1],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {package: importlib.metadata.version(package) for package in packages if not installed(package)},
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else [],
    }
