"""upfirdn2d and bias_act, forward and backward, against plain PyTorch and against a copy of the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from everface.bench.common import Row, compare, interleave
from everface.engine.ops import bias_act, upfirdn2d
from everface.engine.ops.reference import FIR_TAPS

__all__ = ["CASES", "ElementwiseCase", "elementwise_rows"]

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class ElementwiseCase:
    """One call: ``kind`` is ``"up 2"``, ``"down 2"``, ``"filter"`` (upfirdn2d) or ``"bias_act"``."""

    kind: str
    channels: int
    side: int
    channels_last: bool = False
    batch: int = 4

    def __str__(self) -> str:
        name = self.kind if self.kind == "bias_act" else f"upfirdn2d {self.kind}"
        layout = " channels last" if self.channels_last else ""
        return f"{name} {self.channels} channels at {self.side} batch {self.batch}{layout}"

    def forward(self, x: Tensor, bias: Tensor, impl: str) -> Tensor:
        """The call itself."""
        taps = torch.tensor(FIR_TAPS)
        if self.kind == "up 2":
            return upfirdn2d(x, taps, up=2, padding=(2, 1, 2, 1), impl=impl)
        if self.kind == "down 2":
            return upfirdn2d(x, taps, down=2, padding=(1, 1, 1, 1), impl=impl)
        if self.kind == "filter":
            return upfirdn2d(x, taps, padding=(2, 1, 2, 1), impl=impl)
        return bias_act(x, bias, impl=impl)


# The colours of a skip (up), of a discriminator (down), the filter behind a transposed convolution, an activation.
CASES = (
    ElementwiseCase("up 2", 3, 128),
    ElementwiseCase("down 2", 3, 128),
    ElementwiseCase("filter", 64, 64),
    ElementwiseCase("filter", 64, 64, channels_last=True),
    ElementwiseCase("bias_act", 64, 64),
    ElementwiseCase("bias_act", 64, 64, channels_last=True),
)


def _least_bytes(case: ElementwiseCase, x: Tensor, y: Tensor) -> int:
    """What forward and backward have to move at the least; the bias and its gradient ride on it."""
    each = x.element_size()
    if case.kind == "bias_act":
        return 5 * each * x.numel()  # x to y; dy and y to dx
    return 2 * each * (x.numel() + y.numel())  # x to y; dy to dx


def _runs(case: ElementwiseCase, dtype: torch.dtype) -> tuple[dict[str, Callable[[], object]], int]:
    """Steps by implementation, a copy, and the bytes that each of them moves."""
    rng = torch.Generator().manual_seed(0)
    layout = torch.channels_last if case.channels_last else torch.contiguous_format

    def images(*size: int) -> Tensor:
        return torch.randn(*size, generator=rng).to(dtype).contiguous(memory_format=layout)

    x = images(case.batch, case.channels, case.side, case.side).requires_grad_()
    bias = torch.randn(case.channels, generator=rng).requires_grad_()
    leaves = [x, bias] if case.kind == "bias_act" else [x]
    with torch.no_grad():
        y = case.forward(x, bias, "cpu")
    dy, moved = images(*y.shape), _least_bytes(case, x, y)
    source, target = (torch.zeros(moved // 2, dtype=torch.uint8) for _ in range(2))

    def step(impl: str) -> object:
        return torch.autograd.grad(case.forward(x, bias, impl), leaves, dy)

    return {
        "cpu": lambda: step("cpu"),
        "reference": lambda: step("reference"),
        "copy": lambda: target.copy_(source),
    }, moved


def elementwise_rows(case: ElementwiseCase, repeats: int) -> list[Row]:
    """Forward and backward in each type: time beside PyTorch's, bandwidth beside that of a copy of as many bytes.

    Args:
        case: what is called.
        repeats: measurements behind each median.
    """
    rows = []
    for name, dtype in _TYPES.items():
        runs, moved = _runs(case, dtype)
        times = interleave(runs, repeats)
        mine, label = times["cpu"], f"{case} {name}"
        rows.append(
            compare(
                label, "time", mine.median * 1e3, "ms/step", peer="pytorch-eager",
                theirs=times["reference"].median * 1e3, lower_is_better=True, repeats=repeats, spread=mine.spread * 1e3,
            )
        )  # fmt: skip
        rows.append(
            compare(
                label, "bandwidth", 1e-9 * moved / mine.median, "GB/s", peer="copy",
                theirs=1e-9 * moved / times["copy"].median, lower_is_better=False, repeats=repeats,
            )
        )  # fmt: skip
    return rows
