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

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch

from everface import _native
from everface.bench.common import Full, Listen, Row, Timing, interleave, threads
from everface.engine.generators.eg3d.cameras import Rays, camera_rays
from everface.engine.generators.eg3d.config import PLANE_AXES, RenderConfig
from everface.engine.generators.eg3d.decoder import OSGDecoder
from everface.engine.generators.eg3d.marching import Field, March, render_rays
from everface.engine.generators.eg3d.sampling import Jitter, stratified_depths
from everface.engine.ops.volume import VolumeSettings, render_volume
from everface.engine.photos.camera import orbit
from everface.engine.progress import ProgressReporter, ignore_progress

PEER = "pytorch-eager"


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
    sharp, level = (3.0, -4.0) if case.content == "mist" else (40.0, -8.0)
    decoder.get_parameter("net.2.weight")[0] *= sharp
    decoder.get_parameter("net.2.bias")[0] = level
    coarse = torch.randn(3, features, planes_side // 8, planes_side // 8, generator=rng)
    planes = 2 * torch.nn.functional.interpolate(coarse, size=(planes_side, planes_side), mode="bicubic")
    config = RenderConfig(samples=case.samples, importance_samples=case.importance, plane_axes=case.axes)
    return Field(planes[None], decoder, config)


def _native_march(field: Field, rays: Rays, jitter: Jitter, tolerance: float) -> March:
    decoder, config = cast(OSGDecoder, field.decoder), field.config
    depths = stratified_depths(rays.directions, config, jitter, spread=False)
    settings = VolumeSettings(PLANE_AXES[config.plane_axes], config.box_warp, tolerance=tolerance)
    lines = rays.origins, rays.directions
    return March(
        *render_volume(field.planes, decoder.matrices(), lines, depths, jitter.importance, settings, impl="cpu")
    )


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
    runs: dict[str, Callable[[], March]] = {PEER: lambda: render_rays(field, rays, jitter)}
    for name, tolerance in tolerances.items():
        runs[name] = partial(_native_march, field, rays, jitter, tolerance)
    rows = []
    with torch.no_grad():
        times = interleave(runs, rounds)
        truth = _exact(field, rays, jitter)
        errors = {name: _errors(march(), truth) for name, march in runs.items()}
    for name in tolerances:
        rows += _compared(f"{case} {name}", times[name], times[PEER])
        for part, error in errors[name].items():
            rows.append(Row(f"{case} {name}", f"{part} error", error, "largest").beside(PEER, errors[PEER][part]))
    return rows + _gradient_rows(case, field, rays, jitter, rounds)


def _compared(case: str, mine: Timing, theirs: Timing) -> list[Row]:
    return [
        one.row(case, "ms/view", metric=metric).beside(PEER, 1e3 * peer.median)
        for metric, one, peer in (("time", mine, theirs), ("processor time", mine.processor, theirs.processor))
    ]


def _errors(march: March, truth: March) -> dict[str, float]:
    parts = ("features", "depth", "opacity")
    return {part: float((getattr(march, part).double() - getattr(truth, part)).abs().max()) for part in parts}


@torch.no_grad()
def _exact(field: Field, rays: Rays, jitter: Jitter) -> March:
    decoder = copy.deepcopy(cast(OSGDecoder, field.decoder)).double()
    double = Field(field.planes.double(), decoder, field.config)
    return render_rays(double, Rays(rays.origins.double(), rays.directions.double()), jitter)


def _gradient_rows(case: Case, field: Field, rays: Rays, jitter: Jitter, rounds: int) -> list[Row]:
    """Forward and backward; PyTorch keeps everything of all samples, so only for 64 x 64 rays."""
    if case.side > 64:
        return []
    slopes = torch.randn(1, case.side**2, field.planes.shape[2], generator=torch.Generator().manual_seed(2))
    leaf = Field(field.planes.clone().requires_grad_(), field.decoder, field.config)

    def step(march: Callable[[], March]) -> None:
        torch.autograd.grad((march().features * slopes).sum(), [leaf.planes])

    runs = {
        PEER: lambda: step(lambda: render_rays(leaf, rays, jitter)),
        "own": lambda: step(lambda: _native_march(leaf, rays, jitter, 0.0)),
    }
    times = interleave(runs, max(rounds // 2, 2))
    return _compared(f"{case} exact forward and backward", times["own"], times[PEER])


def view_rows(case: Case, rounds: int, planes_side: int = 256) -> list[Row]:
    """A view of kept planes by the default settings, beside the bound; nobody else runs in between."""
    torch.set_num_threads(1)
    _native.set_threads(case.threads)
    field = make_field(case, planes_side)
    rays = camera_rays(torch.as_tensor(orbit(20.0, 10.0)).float(), case.side)
    jitter = Jitter.midpoints(field.config)
    tolerance = VolumeSettings(PLANE_AXES[case.axes]).tolerance
    with torch.no_grad():
        mine = interleave({"own": lambda: _native_march(field, rays, jitter, tolerance)}, rounds)["own"]
    return [
        timing.row(f"{case} kept planes", "ms/view", metric=metric).beside("bound", _VIEW_BOUND)
        for metric, timing in (("time", mine), ("processor time", mine.processor))
    ]


def run(*, full: Full = False, on_progress: Listen = ignore_progress) -> list[Row]:
    """Runs the benchmark: about a minute by default, a few with ``full``."""
    cases = _FULL if full else _QUICK
    reporter = ProgressReporter("render", len(cases) + len(_VIEW), on_progress)
    rows: list[Row] = []
    with threads(1):
        for case in cases:
            rows += measure(case, 5)
            reporter.advance()
        for case in _VIEW:
            rows += view_rows(case, 21)
            reporter.advance()
    return rows
