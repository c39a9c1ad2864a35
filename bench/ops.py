"""The operators and the tuning step against PyTorch, interleaved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from everface.bench.baselines.synthesis import make_network
from everface.bench.common import Full, Listen, Row, interleave
from everface.engine.ops.modulated_conv import modulated_conv2d
from everface.engine.ops.synthesis.learning import synthesize
from everface.engine.progress import ProgressReporter, ignore_progress


@dataclass(frozen=True)
class OperatorCase:
    """One layer: input side, channels, and whether it upsamples."""

    side: int
    cin: int
    cout: int
    up: int
    batch: int = 4


@dataclass(frozen=True)
class TuningCase:
    """One generator to tune, batch 4."""

    resolution: int
    channel_base: int
    channel_max: int = 512
    batch: int = 4


_LAYERS = (OperatorCase(16, 256, 256, 1), OperatorCase(32, 128, 64, 2), OperatorCase(64, 64, 64, 1))
_QUICK = (TuningCase(64, 4096, 256),)
_FULL = (TuningCase(64, 4096, 256), TuningCase(64, 16384), TuningCase(128, 16384), TuningCase(256, 16384))
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def _peer_types() -> dict[str, torch.dtype]:
    """Without AVX-512, PyTorch's convolutions in bfloat16 are plain loops, which take minutes."""
    narrow = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return {name: dtype for name, dtype in _TYPES.items() if narrow or dtype == torch.float32}


def _layer_step(case: OperatorCase, dtype: torch.dtype, impl: str) -> Callable[[], object]:
    rng = torch.Generator().manual_seed(0)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=rng)

    x = normal(case.batch, case.cin, case.side, case.side).to(dtype)
    leaves = [x, normal(case.cout, case.cin, 3, 3), normal(case.batch, case.cin), normal(case.cout)]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    side = case.side * case.up
    noise, strength = normal(side, side), torch.tensor(0.1)
    dy = normal(case.batch, case.cout, side, side).to(dtype).contiguous(memory_format=torch.channels_last)

    def step() -> object:
        y = modulated_conv2d(
            leaves[0], leaves[1], leaves[2], bias=leaves[3], up=case.up, noise=noise, noise_strength=strength, impl=impl
        )
        return torch.autograd.grad(y, leaves, dy)

    return step


def operator_rows(case: OperatorCase, repeats: int) -> list[Row]:
    """Forward and backward of one layer in each type."""
    rows = []
    for name, dtype in _peer_types().items():
        times = interleave({impl: _layer_step(case, dtype, impl) for impl in ("cpu", "reference")}, repeats)
        label = f"modulated_conv2d {case.cin}->{case.cout} at {case.side} up {case.up} batch {case.batch} {name}"
        rows += times["cpu"].rows(label, "ms/step", {"pytorch-eager": times["reference"]})
    return rows


def _tuning_step(case: TuningCase, kind: str, name: str) -> Callable[[], object]:
    """Forward, backward and Adam; ``kind`` is native, pytorch-eager, pytorch-channels-last or pytorch-compile."""
    network = make_network(case.resolution, case.channel_base, case.channel_max)
    if kind == "pytorch-channels-last":
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-4, fused=True)
    rng = torch.Generator().manual_seed(2)
    ws = torch.randn(case.batch, network.config.num_ws, 512, generator=rng)
    target = torch.zeros(case.batch, 3, case.resolution, case.resolution)
    plain: Callable[..., Tensor] = torch.compile(network) if kind == "pytorch-compile" else network

    def step() -> object:
        optimiser.zero_grad(set_to_none=True)
        dtype = _TYPES[name]
        image = synthesize(network.weights(), ws, dtype=dtype) if kind == "native" else plain(ws, dtype=dtype)
        torch.autograd.backward((image - target).square().mean())
        optimiser.step()
        return image

    return step


def tuning_rows(case: TuningCase, repeats: int, compiled: bool) -> list[Row]:
    """The whole tuning step beside each PyTorch variant; the last row is beside the best of them."""
    kinds = ["pytorch-eager", "pytorch-channels-last"] + (["pytorch-compile"] if compiled else [])
    runs = {f"native {name}": _tuning_step(case, "native", name) for name in _TYPES}
    runs |= {f"{kind} {name}": _tuning_step(case, kind, name) for kind in kinds for name in _peer_types()}
    for step in runs.values():
        step()
    times = interleave(runs, repeats)
    label = f"tuning {case.resolution}/{case.channel_base} max {case.channel_max} batch {case.batch}"
    theirs = {run: timing.median for run, timing in times.items() if not run.startswith("native")}
    best = min(theirs, key=lambda run: theirs[run])
    rows = []
    for name in _TYPES:
        mine = times[f"native {name}"]
        for run, seconds in theirs.items():
            if run != best and not run.endswith(name):
                continue
            peer = run.replace(" ", "-") + ("-best" if run == best else "")
            rows.append(mine.row(f"{label} {name}", "ms/step").beside(peer, seconds * 1e3))
    return rows


def run(*, full: Full = False, on_progress: Listen = ignore_progress) -> list[Row]:
    """Runs the benchmark: within minutes by default; ``full`` adds larger generators and ``torch.compile``."""
    flushed = torch.set_flush_denormal(True)
    cases = _FULL if full else _QUICK
    reporter = ProgressReporter("ops", len(_LAYERS) + len(cases), on_progress)
    rows: list[Row] = []
    try:
        for layer in _LAYERS:
            rows += operator_rows(layer, 15 if full else 5)
            reporter.advance()
        for case in cases:
            rows += tuning_rows(case, 9 if full else 3, compiled=full)
            reporter.advance()
    finally:
        if flushed:
            torch.set_flush_denormal(False)
    return rows
