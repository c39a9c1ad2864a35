"""Latency, error and memory of synthesis against PyTorch, ONNX Runtime and OpenVINO, interleaved."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from everface import _native
from everface.bench.baselines.synthesis import PEER_PACKAGES, direct_macs, make_network, peers
from everface.bench.checkpoint import Checkpoint
from everface.bench.common import (
    BenchResult,
    Row,
    compare,
    installed,
    interleave,
    machine,
    print_rows,
    write_json,
)
from everface.bench.peak import peak_rows
from everface.bench.progress import PlainProgress
from everface.engine.generators.stylegan2 import SynthesisNetwork
from everface.engine.ops.synthesis.inference import PackedSynthesis
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress


@dataclass(frozen=True)
class Case:
    """One network and one way to run it."""

    resolution: int
    channel_base: int
    batch: int = 1
    threads: int = 2

    def __str__(self) -> str:
        return f"{self.resolution}/{self.channel_base} batch {self.batch} threads {self.threads}"


_MOST_SECONDS = 300.0
_QUICK = (Case(64, 16384), Case(256, 16384))
_FULL = tuple(
    Case(resolution, base, batch, threads)
    for resolution in (64, 128, 256, 512, 1024)
    for base in (16384, 32768)
    for batch in (1, 8)
    for threads in (1, 2)
)


def _relative(image: object, truth: np.ndarray) -> float:
    picture = np.asarray(image.float() if isinstance(image, torch.Tensor) else image, dtype=np.float64)
    return float(np.linalg.norm(picture - truth) / np.linalg.norm(truth))


def _memory_row(case: Case, network: SynthesisNetwork, executor: PackedSynthesis, execute: Callable[[], object]) -> Row:
    """Bytes in use beside the bound: 1.5 times the float32 weights and the two largest activations."""
    _fresh_pool(case.threads)  # or scratch memory of the other precision would count
    execute()
    weights = 4 * sum(p.numel() for p in network.parameters())
    config, item = network.config, 4 if executor.precision == "fp32" else 2
    sizes = sorted(2 * [r * r * config.channels(r) for r in config.block_resolutions])
    bound = 1.5 * weights + case.batch * item * (sizes[-1] + sizes[-2])
    used = float(executor.weight_bytes + executor.working_bytes)
    name = f"{case} {executor.precision}"
    return compare(name, "memory", used, "bytes", peer="bound", theirs=bound, lower_is_better=True)


def _fresh_pool(threads: int) -> None:
    """Another pool of threads, without the scratch memory that an earlier, larger case left behind."""
    _native.set_threads(threads + 1)
    _native.set_threads(threads)


def measure(case: Case, repeats: int, compiled: bool) -> list[Row]:
    """All rows of one case.

    Args:
        case: what is rendered.
        repeats: measurements behind each median; fewer, at least three, where they would take over five minutes.
        compiled: whether ``torch.compile`` is among the peers.
    """
    torch.set_num_threads(case.threads)
    _fresh_pool(case.threads)
    network = make_network(case.resolution, case.channel_base).eval().requires_grad_(False)
    ws = torch.randn(case.batch, network.config.num_ws, 512, generator=torch.Generator().manual_seed(1))
    executors = {precision: PackedSynthesis(network.arrays(), precision=precision) for precision in ("fp32", "bf16")}
    out = np.empty((case.batch, 3, case.resolution, case.resolution), np.float32)
    array = ws.numpy()

    def own(executor: PackedSynthesis) -> Callable[[], object]:
        return lambda: executor(array, out)

    others = peers(network, ws, case.threads, compiled)
    runs = {**{f"own-{p}": own(e) for p, e in executors.items()}, **others}
    for run in runs.values():
        run()  # compiles, packs, allocates
    start = time.perf_counter()
    for run in runs.values():
        run()
    repeats = min(repeats, max(3, int(_MOST_SECONDS / (time.perf_counter() - start))))
    times = interleave(runs, repeats, warm=False)
    rows = []
    for precision, executor in executors.items():
        mine = times[f"own-{precision}"]
        scale = 1e3 / case.batch
        for peer in others:
            if ("bf16" in peer) != (precision == "bf16") and peer != "openvino-bf16":
                continue
            rows.append(
                compare(
                    f"{case} {precision}", "time", mine.median * scale, "ms/image", peer=peer,
                    theirs=times[peer].median * scale, lower_is_better=True, repeats=repeats,
                    spread=mine.spread * scale,
                )
            )  # fmt: skip
        rate = 2e-9 * direct_macs(network) * case.batch / mine.median
        rows.append(Row(f"{case} {precision}", "direct GFLOP/s", rate, "GFLOP/s", repeats=repeats))
        rows.append(_memory_row(case, network, executor, own(executor)))
    return rows + _error_rows(case, network, ws, runs)


def _error_rows(
    case: Case, network: SynthesisNetwork, ws: torch.Tensor, runs: dict[str, Callable[[], object]]
) -> list[Row]:
    images = {name: np.array(_numpy(run()), copy=True) for name, run in runs.items()}
    with torch.no_grad():
        truth = network.double()(ws.double()).numpy()
    network.float()
    pairs = (("fp32", "pytorch-eager"), ("bf16", "pytorch-eager-bf16"), ("bf16", "openvino-bf16"))
    return [
        compare(
            f"{case} {precision}", "relative error", _relative(images[f"own-{precision}"], truth), "ratio",
            peer=peer, theirs=_relative(images[peer], truth), lower_is_better=True,
        )
        for precision, peer in pairs
        if peer in images
    ]  # fmt: skip


def _numpy(image: object) -> object:
    return image.float().numpy() if isinstance(image, torch.Tensor) else image


def run(
    full: bool = False, on_progress: OnProgress = ignore_progress, *, checkpoint: Path | None = None,
    only: Callable[[Case], bool] = lambda _: True,
) -> BenchResult:  # fmt: skip
    """Runs the benchmark: within minutes by default, hours with ``full``.

    Args:
        full: resolutions 64 to 1024, both channel bases, batches 1 and 8, one and two threads, with ``torch.compile``.
        on_progress: hears of each case.
        checkpoint: a file that keeps what is measured, so that the grid can be run in pieces.
        only: which cases to measure now. The result has these and all that the file has.
    """
    cases = _FULL if full else _QUICK
    kept, here = Checkpoint(checkpoint), f"{_native.cpu_isa()} {'full' if full else 'quick'}"
    due = [case for case in cases if only(case) or f"{case} {here}" in kept]
    reporter = ProgressReporter("latency", len(due), on_progress)
    before = torch.get_num_threads(), _native.get_threads()
    rows: list[Row] = []
    try:
        for threads in sorted({case.threads for case in due}):
            rows += kept.rows(f"peak {threads} {here}", partial(peak_rows, threads))
        for case in due:
            rows += kept.rows(f"{case} {here}", partial(measure, case, 9 if full else 5, full))
            reporter.advance()
    finally:
        torch.set_num_threads(before[0])
        _native.set_threads(before[1])
    missing = tuple(name for name, packages in PEER_PACKAGES.items() if installed(*packages))
    return BenchResult("latency", tuple(rows), machine(), missing)


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m everface.bench.latency [--full] [--json FILE] [--checkpoint FILE] [--resolution 256 ...]``."""
    parser = argparse.ArgumentParser(prog="python -m everface.bench.latency", description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--checkpoint", type=Path, help="keeps what is measured, and goes on from there")
    axes = ("resolution", "channel-base", "batch", "threads")
    for axis in axes:
        parser.add_argument(f"--{axis}", type=int, nargs="+", help="only these; all by default")
    chosen = parser.parse_args(arguments)

    def only(case: Case) -> bool:
        wanted = ((getattr(chosen, name), getattr(case, name)) for name in (axis.replace("-", "_") for axis in axes))
        return all(values is None or value in values for values, value in wanted)

    result = run(chosen.full, PlainProgress(), checkpoint=chosen.checkpoint, only=only)
    if chosen.json:
        write_json(result, chosen.json)
    print_rows(result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
