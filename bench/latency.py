"""Latency, error and memory of synthesis against PyTorch, ONNX Runtime and OpenVINO, interleaved."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from everface import _native
from everface.bench.baselines.synthesis import PEER_PACKAGES, Run, make_network, peers
from everface.bench.checkpoint import Checkpoint
from everface.bench.common import Full, Listen, Row, interleave, missing_rows, threads, timed
from everface.engine.generators.stylegan2.synthesis import SynthesisNetwork
from everface.engine.ops.synthesis.inference import PackedSynthesis
from everface.engine.progress import ProgressReporter, ignore_progress


@dataclass(frozen=True)
class Case:
    """One network and one way to run it."""

    resolution: int
    channel_base: int
    batch: int = 1
    threads: int = 2

    def __str__(self) -> str:
        return f"{self.resolution}/{self.channel_base} batch {self.batch} threads {self.threads}"


_MOST_SECONDS, _PEAK_SIDE = 300.0, 1024
_QUICK = (Case(64, 16384), Case(256, 16384))
_FULL = tuple(Case(*axes) for axes in itertools.product((64, 128, 256, 512, 1024), (16384, 32768), (1, 8), (1, 2)))


def _memory_row(case: Case, network: SynthesisNetwork, executor: PackedSynthesis, execute: Callable[[], object]) -> Row:
    """Bytes in use beside the bound: 1.5 times the float32 weights and the two largest activations."""
    _fresh_pool(case.threads)  # or scratch memory of the other precision would count
    execute()
    weights = 4 * sum(p.numel() for p in network.parameters())
    config, item = network.config, 4 if executor.precision == "fp32" else 2
    sizes = sorted(2 * [r * r * config.channels(r) for r in config.block_resolutions])
    bound = 1.5 * weights + case.batch * item * (sizes[-1] + sizes[-2])
    used = float(executor.weight_bytes + executor.working_bytes)
    return Row(f"{case} {executor.precision}", "memory", used, "bytes").beside("bound", bound)


def _fresh_pool(count: int) -> None:
    """Another pool of threads, without the scratch memory that an earlier, larger case left behind."""
    _native.set_threads(count + 1)
    _native.set_threads(count)


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
    others = peers(network, ws, case.threads, compiled)
    runs: dict[str, Run] = {f"own-{name}": partial(one, ws.numpy(), out) for name, one in executors.items()}
    runs |= others
    for run in runs.values():
        run()  # compiles, packs, allocates
    _, once = timed(lambda: [run() for run in runs.values()])
    times = interleave(runs, min(repeats, max(3, int(_MOST_SECONDS / once.median))), warm=False)
    rows = []
    for precision, executor in executors.items():
        name, mine = f"{case} {precision}", times[f"own-{precision}"]
        beside = [peer for peer in others if ("bf16" in peer) == (precision == "bf16") or peer == "openvino-bf16"]
        rows += mine.rows(name, "ms/image", {peer: times[peer] for peer in beside}, 1e3 / case.batch)
        rows.append(_memory_row(case, network, executor, runs[f"own-{precision}"]))
    return rows + _error_rows(case, network, ws, runs)


def _error_rows(case: Case, network: SynthesisNetwork, ws: torch.Tensor, runs: dict[str, Run]) -> list[Row]:
    pairs = (("fp32", "pytorch-eager"), ("bf16", "pytorch-eager-bf16"), ("bf16", "openvino-bf16"))
    images = {name: _numpy(runs[name]()) for pair in pairs for name in (f"own-{pair[0]}", pair[1]) if name in runs}
    with torch.no_grad():
        truth = network.double()(ws.double()).numpy()
    network.float()
    errors = {name: float(np.linalg.norm(one - truth) / np.linalg.norm(truth)) for name, one in images.items()}
    return [
        Row(f"{case} {precision}", "relative error", errors[f"own-{precision}"], "ratio").beside(peer, errors[peer])
        for precision, peer in pairs
        if peer in errors
    ]


def peak_rows(count: int) -> list[Row]:
    """What this machine multiplies at the most, by large square products of PyTorch: a row in GFLOP/s for float32, and
    for bfloat16 where the processor has instructions for it, as PyTorch's product is a plain loop elsewhere."""
    torch.set_num_threads(count)
    rows = []
    for dtype in (torch.float32, torch.bfloat16)[: 1 + torch.ops.mkldnn._is_mkldnn_bf16_supported()]:
        a = torch.randn(_PEAK_SIDE, _PEAK_SIDE).to(dtype)
        timing = interleave({"product": partial(torch.matmul, a, a)}, 9)["product"]
        case = f"matrix product threads {count} {'fp32' if dtype == torch.float32 else 'bf16'}"
        rows.append(Row(case, "peak", 2e-9 * _PEAK_SIDE**3 / timing.median, "GFLOP/s", repeats=9))
    return rows


def _numpy(image: object) -> np.ndarray:
    return np.asarray(image.float().numpy() if isinstance(image, torch.Tensor) else image, np.float64)


def run(
    *, full: Full = False, on_progress: Listen = ignore_progress, checkpoint: Path | None = None,
    resolution: tuple[int, ...] = (), batch: tuple[int, ...] = (),
) -> list[Row]:  # fmt: skip
    """Runs the benchmark: within minutes by default, hours with ``full``.

    Args:
        full: resolutions 64 to 1024, both channel bases, batches 1 and 8, one and two threads, with ``torch.compile``.
        on_progress: hears of each case.
        checkpoint: a file that keeps what is measured, so that the grid can be run in pieces.
        resolution: to measure now, all if none is named. The result has these and all that the file has.
        batch: likewise.
    """
    kept, here = Checkpoint(checkpoint), f"{_native.cpu_isa()} {'full' if full else 'quick'}"

    def due(case: Case) -> bool:
        wanted = case.resolution in (resolution or (case.resolution,)) and case.batch in (batch or (case.batch,))
        return wanted or f"{case} {here}" in kept

    cases = [case for case in (_FULL if full else _QUICK) if due(case)]
    reporter = ProgressReporter("latency", len(cases), on_progress)
    rows = missing_rows(PEER_PACKAGES)
    with threads(2):
        for count in sorted({case.threads for case in cases}):
            rows += kept.rows(f"peak {count} {here}", partial(peak_rows, count))
        for case in cases:
            rows += kept.rows(f"{case} {here}", partial(measure, case, 9 if full else 5, full))
            reporter.advance()
    return rows
