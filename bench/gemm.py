"""Own matrix products against oneDNN's and XNNPACK's, on the convolutions of StyleGAN2, one thread, interleaved."""

from __future__ import annotations

import torch

from everface import _native
from everface.bench.baselines.convolutions import Shape, convolutions
from everface.bench.baselines.xnnpack import XNNPACK_PACKAGES
from everface.bench.common import BenchResult, Row, command_line, compare, installed, interleave, machine
from everface.bench.peak import peak_rows
from everface.engine.generators.stylegan2 import StyleGAN2Config
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_FROM_SIDE = 16  # below, a layer reads more weights than it has pixels for, and takes next to nothing of an image


def shapes_of(resolution: int, channel_base: int, from_side: int = _FROM_SIDE) -> list[Shape]:
    """The convolutions of a synthesis network, each shape once, and the plain ones' channels as 1x1.

    A 1x1 convolution is one matrix product, [pixels, channels in] by [channels in, channels out]: what the 3x3 ones
    call for every transformed point.

    Args:
        resolution: of the network's images.
        channel_base: as in ``StyleGAN2Config``.
        from_side: smallest side of a layer's result.
    """
    config = StyleGAN2Config(resolution=resolution, channel_base=channel_base)
    shapes = []
    for side in config.block_resolutions:
        if side < from_side:
            continue
        channels = config.channels(side)
        if side > 4:
            shapes.append(Shape("2x up", side // 2, config.channels(side // 2), channels))
        shapes += [Shape("3x3", side, channels, channels), Shape("1x1", side, channels, channels)]
    return list(dict.fromkeys(shapes))


def convolution_rows(label: str, shape: Shape, repeats: int, peaks: dict[str, float]) -> list[Row]:
    """One layer in float32 and bfloat16.

    ``direct`` counts every tap at every pixel, whatever an implementation multiplies; ``share of peak`` counts what it
    does multiply. Everface's times include all of the layer, the peers' the products alone.

    Args:
        label: of the network.
        shape: of the layer.
        repeats: measurements behind each median.
        peaks: GFLOP/s of one thread, by ``"fp32"`` and ``"bf16"``.
    """
    rows = []
    for name, dtype in _TYPES.items():
        own, *others = convolutions(shape, dtype)
        times = interleave({convolution.name: convolution.run for convolution in (own, *others)}, repeats)
        mine, case = times[own.name], f"{label} {shape} {name} {own.name}"
        rate = 2e-9 * shape.direct / mine.median
        share = 2e-9 * own.products / mine.median / peaks[name]
        if not others:
            rows += [Row(case, "direct", rate, "GFLOP/s", repeats=repeats), Row(case, "share of peak", share, "ratio")]
        for other in others:
            theirs = 2e-9 * shape.direct / times[other.name].median
            rows.append(
                compare(
                    case, "direct", rate, "GFLOP/s", peer=other.name, theirs=theirs, lower_is_better=False,
                    repeats=repeats, spread=rate * mine.spread / mine.median,
                )
            )  # fmt: skip
            rows.append(
                compare(
                    case, "share of peak", share, "ratio", peer=other.name, theirs=theirs / peaks[name],
                    lower_is_better=False, repeats=repeats,
                )
            )  # fmt: skip
    return rows


def _missing() -> tuple[str, ...]:
    missing = [] if installed(*XNNPACK_PACKAGES) is None else ["xnnpack"]
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        missing.append("onednn-bf16 (it needs AVX-512)")
    return tuple(missing)


def run(full: bool = False, on_progress: OnProgress = ignore_progress) -> BenchResult:
    """256/16384 within two minutes; ``full`` adds 512/32768 and repeats more."""
    networks = ((256, 16384), (512, 32768)) if full else ((256, 16384),)
    cases = [(f"{r}/{base}", shape) for r, base in networks for shape in shapes_of(r, base)]
    reporter = ProgressReporter("gemm", len(cases), on_progress)
    before = torch.get_num_threads(), _native.get_threads()
    _native.set_threads(1)
    try:
        rows = peak_rows(1)
        # Without instructions for bfloat16 its products are float32's.
        peaks = {"fp32": rows[0].value, "bf16": rows[-1].value}
        for label, shape in cases:
            rows += convolution_rows(label, shape, 9 if full else 5, peaks)
            reporter.advance()
    finally:
        torch.set_num_threads(before[0])
        _native.set_threads(before[1])
    return BenchResult("gemm", tuple(rows), machine(), _missing())


def main(arguments: list[str] | None = None) -> int:
    """``python -m everface.bench.gemm [--full] [--json FILE]``."""
    return command_line("gemm", __doc__, run, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
