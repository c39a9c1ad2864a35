"""What this machine multiplies at the most, by a well-kept library: large square matrix products."""

from __future__ import annotations

import torch

from everface.bench.common import Row, interleave

_SIDE, _REPEATS = 1024, 9


def peak_rows(threads: int) -> list[Row]:
    """A row in GFLOP/s for float32 (``fp32``) and, where the processor multiplies it, for bfloat16 (``bf16``).

    Sets PyTorch's number of threads. Without AVX-512, PyTorch's product in bfloat16 is a plain loop, a hundred times
    slower than float32: no peak of anything.
    """
    torch.set_num_threads(threads)
    rows = []
    types = [(torch.float32, "fp32")]
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        types.append((torch.bfloat16, "bf16"))
    for dtype, name in types:
        a = torch.randn(_SIDE, _SIDE).to(dtype)
        timing = interleave({"product": lambda a=a: a @ a}, _REPEATS)["product"]  # type: ignore[misc]
        rate = 2e-9 * _SIDE**3 / timing.median
        rows.append(Row(f"matrix product threads {threads} {name}", "peak", rate, "GFLOP/s", repeats=_REPEATS))
    return rows
