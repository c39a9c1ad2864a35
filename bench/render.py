"""The fused renderer beside its PyTorch formulation: equal rays, samples, planes and decoder, in turn.

The floor of one view, in numbers: a sample reads 8 texels of 64 channels (the published planes; 12 for the corrected
ones), 64 softplus, and 32 x 64 products for its colours and 64 for its density. At 128 x 128 rays and 48 + 48 samples
that is 1.57 million samples, 4.2 GFLOP of sampling and density and 6.4 GFLOP of colours, and 100 million softplus of
about 28 operations each; the first layer on the texels adds at most 0.5 GFLOP. PyTorch's formulation takes 13 GFLOP in
the decoder alone and writes 1.57 million x (32 + 64 + 33) numbers to memory and back.

Predicted for one core with AVX-512 that multiplies at 90 GFLOP/s: 180 ms of processor time. Measured on a busy machine:
257 to 334 ms, in the former of which softplus takes 55, the colours' products 70 and reading texels out of caches 70.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from everface import _native
from everface.bench.common import BenchResult, Row, Timing, command_line, compare, machine
from everface.engine.generators.eg3d import Jitter, Rays, RenderConfig, camera_rays
from everface.engine.generators.eg3d.config import PLANE_AXES
from everface.engine.generators.eg3d.decoder import OSGDecoder
from everface.engine.generators.eg3d.marching import Field, March, render_rays
from everface.engine.generators.eg3d.sampling import stratified_depths
from everface.engine.ops.volume import VolumeSettings, render_volume
from everface.engine.photos.camera import orbit
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress

PEER = "pytorch-eager"
Run = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One view.

    Attributes:
        side: rays of an image's side.
        samples, importance: of either pass.
        axes: ``"published"`` or ``"corrected"`` planes.
        content: ``"mist"``, where every sample counts, or ``"solid"``, where rays end at a surface.
        threads: of both.
    """

    side: int
    samples: int
    importance: int
    axes: str = "published"
    content: str = "mist"
    threads: int = 1

    def __str__(self) -> str:
        rays = f"{self.side}x{self.side} rays {self.samples}+{self.importance} samples"
        return f"{rays} {self.axes} {self.content} threads {self.threads}"


_QUICK = (
    Case(64, 48, 48),
    Case(128, 48, 48),
    Case(128, 48, 48, content="solid"),
)
_FULL = (
    *(Case(side, 48, 48, axes, content) for side in (64, 128) for axes in PLANE_AXES for content in ("mist", "solid")),
    *(Case(128, 24, 24, axes, content) for axes in PLANE_AXES for content in ("mist", "solid")),
)
# A new view of planes that are kept: milliseconds on two cores (the aim of the project's issue on 3D).
_VIEW = (Case(128, 24, 24, threads=2), Case(128, 24, 24, content="solid", threads=2))
_VIEW_BOUND = 150.0


def make_field(case: Case, planes_side: int = 256, features: int = 32, hidden: int = 64) -> Field:
    """Seeded planes, smooth over eight texels, and a decoder 32 -> 64 -> 33 that makes a mist or bodies of them."""
    rng = torch.Generator().manual_seed(0)
    decoder = OSGDecoder(features, hidden).requires_grad_(False)
    for one in decoder.parameters():
        one.copy_(torch.randn(one.shape, generator=rng))
    first, last = decoder.net[0], decoder.net[2]
    if not isinstance(first.weight, Tensor) or not isinstance(last.weight, Tensor) or not isinstance(last.bias, Tensor):
        raise TypeError("the decoder's layers have weights")
    sharp, level = (3.0, -4.0) if case.content == "mist" else (40.0, -8.0)
    last.weight[0] *= sharp
    last.bias[0] = level
    coarse = torch.randn(3, features, planes_side // 8, planes_side // 8, generator=rng)
    planes = 2 * torch.nn.functional.interpolate(coarse, size=(planes_side, planes_side), mode="bicubic")
    config = RenderConfig(samples=case.samples, importance_samples=case.importance, plane_axes=case.axes)
    return Field(planes[None], decoder, config)


def _native_march(field: Field, rays: Rays, jitter: Jitter, tolerance: float) -> March:
    decoder, config = field.decoder, field.config
    if not isinstance(decoder, OSGDecoder):
        raise TypeError("make_field makes a decoder")
    depths = stratified_depths(rays.directions, config, jitter, spread=False)
    settings = VolumeSettings(PLANE_AXES[config.plane_axes], config.box_warp, tolerance=tolerance)
    lines = rays.origins, rays.directions
    return March(
        *render_volume(field.planes, decoder.matrices(), lines, depths, jitter.importance, settings, impl="cpu")
    )


def _rounds(runs: dict[str, Run], rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds by the clock and of processor time of each run, taken in turn."""
    wall: dict[str, list[float]] = {name: [] for name in runs}
    busy: dict[str, list[float]] = {name: [] for name in runs}
    for one in runs.values():
        one()
    for _ in range(rounds):
        for name, one in runs.items():
            start, used = time.perf_counter(), time.process_time()
            one()
            wall[name].append(1e3 * (time.perf_counter() - start))
            busy[name].append(1e3 * (time.process_time() - used))
    return wall, busy


def _compared(case: str, metric: str, ours: list[float], theirs: list[float]) -> Row:
    """Medians; the ratio is the median of the rounds' ratios, which a drifting machine disturbs least."""
    mine = Timing.of(ours)
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    return Row(
        case, metric, mine.median, "ms/view", PEER, statistics.median(theirs), ratio, mine.repeats, mine.spread
    )  # fmt: skip


def measure(case: Case, rounds: int, planes_side: int = 256) -> list[Row]:
    """Time and error of a view, and of a view with its gradients to planes and decoder.

    Both ends of skipping are timed: none, and the default tolerance. Errors are the largest of any number, against
    PyTorch in float64.
    """
    torch.set_num_threads(case.threads)
    _native.set_threads(case.threads)
    field = make_field(case, planes_side)
    rays = camera_rays(torch.as_tensor(orbit(20.0, 10.0)).float(), case.side)
    jitter = Jitter.draw(field.config, 1, case.side**2, torch.Generator().manual_seed(1))
    tolerances = {"exact": 0.0, "skipping": VolumeSettings(PLANE_AXES[case.axes]).tolerance}
    runs: dict[str, Run] = {PEER: lambda: render_rays(field, rays, jitter)}
    for name, tolerance in tolerances.items():
        runs[name] = lambda tolerance=tolerance: _native_march(field, rays, jitter, tolerance)  # type: ignore[misc]
    rows = []
    with torch.no_grad():
        wall, busy = _rounds(runs, rounds)
        truth = _exact(field, rays, jitter)
        peer = render_rays(field, rays, jitter)
        for name, tolerance in tolerances.items():
            rows.append(_compared(f"{case} {name}", "time", wall[name], wall[PEER]))
            rows.append(_compared(f"{case} {name}", "processor time", busy[name], busy[PEER]))
            found = _native_march(field, rays, jitter, tolerance)
            for part in ("features", "depth", "opacity"):
                ours, theirs = (
                    float((getattr(one, part).double() - getattr(truth, part)).abs().max()) for one in (found, peer)
                )
                rows.append(
                    compare(f"{case} {name}", f"{part} error", ours, "largest", peer=PEER, theirs=theirs,
                            lower_is_better=True)
                )  # fmt: skip
    return rows + _gradient_rows(case, field, rays, jitter, rounds)


@torch.no_grad()
def _exact(field: Field, rays: Rays, jitter: Jitter) -> March:
    decoder = field.decoder
    if not isinstance(decoder, OSGDecoder):
        raise TypeError("make_field makes a decoder")
    wide = OSGDecoder(field.planes.shape[2], decoder.matrices()[0].shape[0]).double()
    wide.load_state_dict(decoder.state_dict())
    double = Field(field.planes.double(), wide, field.config)
    return render_rays(double, Rays(rays.origins.double(), rays.directions.double()), jitter)


def _gradient_rows(case: Case, field: Field, rays: Rays, jitter: Jitter, rounds: int) -> list[Row]:
    """Forward and backward; PyTorch keeps everything of all samples, so only for 64 x 64 rays."""
    if case.side > 64:
        return []
    slopes = torch.randn(1, case.side**2, field.planes.shape[2], generator=torch.Generator().manual_seed(2))
    leaf = Field(field.planes.clone().requires_grad_(), field.decoder, field.config)

    def step(march: Callable[[], March]) -> None:
        torch.autograd.grad((march().features * slopes).sum(), [leaf.planes])

    runs: dict[str, Run] = {
        PEER: lambda: step(lambda: render_rays(leaf, rays, jitter)),
        "own": lambda: step(lambda: _native_march(leaf, rays, jitter, 0.0)),
    }
    wall, busy = _rounds(runs, max(rounds // 2, 2))
    name = f"{case} exact forward and backward"
    return [
        _compared(name, "time", wall["own"], wall[PEER]),
        _compared(name, "processor time", busy["own"], busy[PEER]),
    ]


def view_rows(case: Case, rounds: int, planes_side: int = 256) -> list[Row]:
    """A view of kept planes by the default settings, beside the bound; nobody else runs in between."""
    torch.set_num_threads(1)
    _native.set_threads(case.threads)
    field = make_field(case, planes_side)
    rays = camera_rays(torch.as_tensor(orbit(20.0, 10.0)).float(), case.side)
    jitter = Jitter.midpoints(field.config)
    tolerance = VolumeSettings(PLANE_AXES[case.axes]).tolerance
    with torch.no_grad():
        wall, busy = _rounds({"own": lambda: _native_march(field, rays, jitter, tolerance)}, rounds)
    rows = []
    for metric, found in (("time", wall["own"]), ("processor time", busy["own"])):
        mine = Timing.of(found)
        rows.append(
            compare(f"{case} kept planes", metric, mine.median, "ms/view", peer="bound", theirs=_VIEW_BOUND,
                    lower_is_better=True, repeats=mine.repeats, spread=mine.spread)
        )  # fmt: skip
    return rows


def run(full: bool = False, on_progress: OnProgress = ignore_progress) -> BenchResult:
    """Runs the benchmark: about a minute by default, a few with ``full``."""
    cases = _FULL if full else _QUICK
    reporter = ProgressReporter("render", len(cases) + len(_VIEW), on_progress)
    before = torch.get_num_threads(), _native.get_threads()
    rows: list[Row] = []
    try:
        for case in cases:
            rows += measure(case, 5)
            reporter.advance()
        for case in _VIEW:
            rows += view_rows(case, 21)
            reporter.advance()
    finally:
        torch.set_num_threads(before[0])
        _native.set_threads(before[1])
    return BenchResult("render", tuple(rows), {**machine(), "kernels": _native.render_isa()})


def main(arguments: list[str] | None = None) -> int:
    """``python -m everface.bench.render [--full] [--json FILE]``."""
    return command_line("render", __doc__, run, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
