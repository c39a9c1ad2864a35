"""The fast graphs, with everface's operators for ONNX Runtime, beside the portable float32 graph in that runtime."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from everface.bench.baselines.synthesis import make_network
from everface.bench.common import BenchResult, Row, Timing, command_line, compare, machine
from everface.engine.generators.stylegan2 import SynthesisNetwork
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress
from everface.export.custom import CUSTOM_DOMAIN, CUSTOM_PRECISIONS, emit_custom_synthesis, library_path
from everface.export.graph import GraphBuilder
from everface.export.stylegan2 import emit_synthesis, gathered_styles

PEER = "onnxruntime-fp32"
_QUICK = ((256, 16384),)
_FULL = ((64, 16384), (128, 16384), (256, 16384), (256, 32768), (512, 32768))
_OPSET = 17
Run = Callable[[], NDArray[np.float32]]


def _model(network: SynthesisNetwork, precision: str | None) -> bytes:
    config = network.config
    g = GraphBuilder("synthesis", "ws to image", domains={CUSTOM_DOMAIN: 1} if precision else None)
    style = gathered_styles(g, g.input("ws", ["n", config.num_ws, config.w_dim]))
    emit = (
        emit_custom_synthesis(g, network.arrays(), style, precision)
        if precision
        else emit_synthesis(g, network.arrays(), style)
    )
    g.output(emit, "image", ["n", config.img_channels, config.resolution, config.resolution])
    return bytes(g.model(_OPSET, {}).SerializeToString())


def _session(model: bytes, threads: int) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # Between two runs the threads of one session would else take the cores from the other's.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.register_custom_ops_library(str(library_path()))
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _rounds(runs: dict[str, Run], rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds by the clock and of processor time of each run, taken in turn."""
    wall: dict[str, list[float]] = {name: [] for name in runs}
    busy: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, one in runs.items():
            start, used = time.perf_counter(), time.process_time()
            one()
            wall[name].append(time.perf_counter() - start)
            busy[name].append(time.process_time() - used)
    return wall, busy


def _compared(case: str, metric: str, ours: list[float], theirs: list[float]) -> Row:
    """Medians; the ratio is the median of the rounds' ratios, which a drifting machine disturbs least."""
    mine = Timing.of([1e3 * one for one in ours])
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    peer = 1e3 * statistics.median(theirs)
    return Row(case, metric, mine.median, "ms/image", PEER, peer, ratio, mine.repeats, mine.spread)


def measure(resolution: int, channel_base: int, rounds: int, threads: int = 2) -> list[Row]:
    """Latency, processor time and error of one network, batch 1.

    Args:
        resolution, channel_base: of a network with random weights and noise.
        rounds: each times every graph once.
        threads: of each session.
    """
    network = make_network(resolution, channel_base).eval().requires_grad_(False)
    ws = torch.randn(1, network.config.num_ws, network.config.w_dim, generator=torch.Generator().manual_seed(1))
    array = ws.numpy()
    variants: dict[str, str | None] = {PEER: None, **{one: one for one in CUSTOM_PRECISIONS}}
    runs: dict[str, Run] = {}
    for name, precision in variants.items():
        session = _session(_model(network, precision), threads)
        runs[name] = lambda session=session: session.run(None, {"ws": array})[0]  # type: ignore[misc]
    images = {name: np.array(one(), copy=True) for name, one in runs.items()}
    wall, busy = _rounds(runs, rounds)
    with torch.no_grad():
        images["pytorch-eager"] = network(ws).numpy()
        images["pytorch-eager-bf16"] = network(ws, dtype=torch.bfloat16).numpy()
        truth = network.double()(ws.double()).numpy()
    error = {name: float(np.linalg.norm(one - truth) / np.linalg.norm(truth)) for name, one in images.items()}
    rows = []
    for precision in CUSTOM_PRECISIONS:
        case = f"custom {precision} {resolution}/{channel_base} batch 1 threads {threads}"
        rows.append(_compared(case, "latency", wall[precision], wall[PEER]))
        rows.append(_compared(case, "processor time", busy[precision], busy[PEER]))
        for peer in (PEER, "pytorch-eager" if precision == "fp32" else "pytorch-eager-bf16"):
            rows.append(
                compare(case, "relative error", error[precision], "ratio", peer=peer, theirs=error[peer],
                        lower_is_better=True)
            )  # fmt: skip
    return rows


def run(full: bool = False, on_progress: OnProgress = ignore_progress) -> BenchResult:
    """Runs the benchmark: under a minute by default, several with ``full``."""
    cases = _FULL if full else _QUICK
    reporter = ProgressReporter("custom", len(cases), on_progress)
    rows: list[Row] = []
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for resolution, base in cases:
            rows += measure(resolution, base, 31)
            reporter.advance()
    finally:
        torch.set_num_threads(before)
    return BenchResult("custom", tuple(rows), machine())


def main(arguments: list[str] | None = None) -> int:
    """``python -m everface.bench.custom [--full] [--json FILE]``."""
    return command_line("custom", __doc__, run, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
