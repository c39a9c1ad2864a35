"""The operators, and whole steps of tuning and of a search, against PyTorch, interleaved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from everface.bench.common import Full, Listen, Row, interleave
from everface.bench.learning import CASES, learning_rows
from everface.engine.ops.modulated_conv import modulated_conv2d
from everface.engine.progress import ProgressReporter, ignore_progress


@dataclass(frozen=True)
class OperatorCase:
    """One layer: input side, channels, and whether it upsamples."""

    side: int
    cin: int
    cout: int
    up: int
    batch: int = 4


_LAYERS = (OperatorCase(16, 256, 256, 1), OperatorCase(32, 128, 64, 2), OperatorCase(64, 64, 64, 1))
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


def run(*, full: Full = False, on_progress: Listen = ignore_progress) -> list[Row]:
    """Runs the benchmark: within minutes by default; ``full`` adds larger generators."""
    flushed = torch.set_flush_denormal(True)
    cases = CASES if full else CASES[:1]
    reporter = ProgressReporter("ops", len(_LAYERS) + len(cases), on_progress)
    rows: list[Row] = []
    try:
        for layer in _LAYERS:
            rows += operator_rows(layer, 15 if full else 5)
            reporter.advance()
        for case in cases:
            rows += learning_rows(case, 9 if full else 3)
            reporter.advance()
    finally:
        if flushed:
            torch.set_flush_denormal(False)
    return rows
