"""Own matrix products against oneDNN's and XNNPACK's, on the convolutions of StyleGAN2, one thread, interleaved."""

from __future__ import annotations

import torch

from everface.bench.baselines.convolutions import Shape, convolutions
from everface.bench.baselines.xnnpack import XNNPACK_PACKAGES
from everface.bench.common import Full, Listen, Row, interleave, missing_rows, threads
from everface.engine.generators.stylegan2.config import StyleGAN2Config
from everface.engine.progress import ProgressReporter, ignore_progress

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_FROM_SIDE = 16  # below, a layer reads more weights than it has pixels for, and takes next to nothing of an image
_PEAK_SIDE, _PEAK_REPEATS = 1024, 9


def peak_rows(count: int) -> list[Row]:
    """What this machine multiplies at the most, by large square products of PyTorch: a row in GFLOP/s for float32
    (``fp32``) and, where the processor multiplies it, for bfloat16 (``bf16``).

    Sets PyTorch's number of threads. Without AVX-512, PyTorch's product in bfloat16 is a plain loop, a hundred times
    slower than float32: no peak of anything.
    """
    torch.set_num_threads(count)
    rows = []
    for name, dtype in _TYPES.items():
        if name == "bf16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            continue
        a = torch.randn(_PEAK_SIDE, _PEAK_SIDE).to(dtype)
        timing = interleave({"product": lambda a=a: a @ a}, _PEAK_REPEATS)["product"]  # type: ignore[misc]
        rate = 2e-9 * _PEAK_SIDE**3 / timing.median
        rows.append(Row(f"matrix product threads {count} {name}", "peak", rate, "GFLOP/s", repeats=_PEAK_REPEATS))
    return rows


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
        rate, peak = 2e-9 * shape.direct / mine.median, peaks[name]
        direct = Row(case, "direct", rate, "GFLOP/s", repeats=repeats, spread=rate * mine.spread / mine.median)
        share = Row(case, "share of peak", 2e-9 * own.products / mine.median / peak, "ratio", repeats=repeats)
        if not others:
            rows += [direct, share]
        for other in others:
            theirs = 2e-9 * shape.direct / times[other.name].median
            rows += [
                direct.beside(other.name, theirs, higher=True),
                share.beside(other.name, theirs / peak, higher=True),
            ]
    return rows


def run(*, full: Full = False, on_progress: Listen = ignore_progress) -> list[Row]:
    """256/16384 within two minutes; ``full`` adds 512/32768 and repeats more."""
    networks = ((256, 16384), (512, 32768)) if full else ((256, 16384),)
    cases = [(f"{r}/{base}", shape) for r, base in networks for shape in shapes_of(r, base)]
    reporter = ProgressReporter("gemm", len(cases), on_progress)
    missing = missing_rows({"xnnpack": XNNPACK_PACKAGES})
    with threads(1):
        rows = peak_rows(1)
        # Without instructions for bfloat16 its products are float32's, and oneDNN has none.
        peaks = {"fp32": rows[0].value, "bf16": rows[-1].value}
        for label, shape in cases:
            rows += convolution_rows(label, shape, 9 if full else 5, peaks)
            reporter.advance()
    return rows + missing
