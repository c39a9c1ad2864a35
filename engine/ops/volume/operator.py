"""Volume rendering of tri-planes as one operator: sampling, decoder, importance sampling, compositing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from everface.engine.errors import UsageError
from everface.engine.ops.dispatch import choose, machine_obstacle
from everface.engine.ops.volume import reference as volume_reference
from everface.engine.ops.volume.kernels import MarchSettings, RenderVolumeKernel

__all__ = ["VolumeSettings", "render_volume"]

_TYPES = {"cpu": (torch.float32, torch.float64), "cuda": (torch.float32,)}


@dataclass(frozen=True)
class VolumeSettings:
    """How planes span a volume, and how exactly it is rendered.

    Attributes:
        axes: of each of the three planes, which two coordinates (0 to 2) are its column and its row.
        box_warp: side of the cube that the planes span, in world units.
        white_back: whether what is behind the volume is white.
        tolerance: of the kernels: a bound on what skipping changes, of features in their range [-1, 1]. A ray ends
            where less than a quarter of it is left of its light, and the colour of a sample is not looked at that gives
            less than its share of the other half. 0 computes everything. Gradients, and the reference, skip nothing.
    """

    axes: Sequence[tuple[int, int]]
    box_warp: float = 1.0
    white_back: bool = False
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        if len(self.axes) != 3 or any(len(pair) != 2 or not set(pair) <= {0, 1, 2} for pair in self.axes):
            raise UsageError("axes", expected="three pairs of 0, 1 and 2", found=str(self.axes))
        if not 0 < self.box_warp < float("inf"):
            raise UsageError("box_warp", expected="a finite number above 0", found=str(self.box_warp))
        if not 0 <= self.tolerance < 1:
            raise UsageError("tolerance", expected="0 or more, below 1", found=str(self.tolerance))


def render_volume(
    planes: Tensor,
    decoder: Sequence[Tensor],
    rays: tuple[Tensor, Tensor],
    depths: Tensor,
    quantiles: Tensor | None,
    settings: VolumeSettings,
    *,
    impl: str = "auto",
) -> tuple[Tensor, Tensor, Tensor]:
    """Renders rays through tri-planes in two passes (Chan et al. 2022, section 4), with gradients.

    The kernels apply the decoder's first layer to the planes' texels, add planes up that are sampled at the same two
    coordinates, and march a ray at a time: no feature of a sample outlives its ray.

    Args:
        planes: ``[n, 3, features, h, w]``, float32 (or float64, for which ``impl="auto"`` takes the reference).
        decoder: weight ``[hidden, features]``, bias ``[hidden]``, weight ``[1 + features, hidden]`` and bias
            ``[1 + features]``, in planes' type; softplus between the layers, sigmoid on the colours.
        rays: origins and directions ``[n, rays, 3]``; gradients to them by the reference alone.
        depths: of the first pass, ascending, ``[n or 1, rays or 1, samples]``, 4 samples or more.
        quantiles: of the second pass, in [0, 1), ``[n or 1, rays or 1, importance samples]``; None for one pass.
        settings: see ``VolumeSettings``.
        impl: ``"auto"``, ``"reference"``, ``"cpu"`` or ``"cuda"``; a named one never falls back to another. CUDA's
            kernels are compiled and have never run on a GPU: auto does not take them.

    Returns:
        Features ``[n, rays, features]``, about [-1, 1]; depth ``[n, rays, 1]``, the largest of ``depths`` where a ray
        meets nothing; opacity ``[n, rays, 1]``.

    Raises:
        UsageError: shapes or types that do not belong together.
        MissingBackendError: a named implementation cannot run here.
    """
    _check(planes, decoder, rays, depths, quantiles)
    origins, directions = (tensor.to(planes.dtype) for tensor in rays)
    depths = depths.to(planes)
    quantiles = None if quantiles is None else quantiles.to(planes)
    moves = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in (origins, directions, depths, quantiles)
    )
    # float64 is there for tests: its kernels are no faster than PyTorch. Those of CUDA have never run.
    fast = planes.dtype == torch.float32 and not _obstacle("cpu", planes, moves)
    chosen = choose("render_volume", impl, "cpu" if fast else "reference", lambda name: _obstacle(name, planes, moves))
    if chosen == "reference":
        return _reference(planes, decoder, (origins, directions), depths, quantiles, settings)
    samples = depths.shape[2] + (0 if quantiles is None else quantiles.shape[2])
    march = MarchSettings(
        tuple((column, row) for column, row in settings.axes), settings.box_warp, settings.white_back,
        0.25 * settings.tolerance, 0.5 * settings.tolerance / samples,
    )  # fmt: skip
    rendered: tuple[Tensor, Tensor, Tensor] = RenderVolumeKernel.apply(  # type: ignore[no-untyped-call]
        march, planes, *decoder, origins, directions, depths, quantiles
    )
    return rendered


def _reference(
    planes: Tensor,
    decoder: Sequence[Tensor],
    rays: tuple[Tensor, Tensor],
    depths: Tensor,
    quantiles: Tensor | None,
    settings: VolumeSettings,
) -> tuple[Tensor, Tensor, Tensor]:
    def volume(points: Tensor) -> tuple[Tensor, Tensor]:
        sampled = volume_reference.sample_planes(planes, points, settings.axes, settings.box_warp)
        return volume_reference.decode(sampled, decoder)

    n, count, _ = rays[1].shape
    spread = depths.expand(n, count, depths.shape[2])
    features, depth, opacity = volume_reference.march(volume, rays, spread, quantiles, settings.white_back)
    return features, torch.where(opacity > 0, depth, depths.max()), opacity


def _check(
    planes: Tensor, decoder: Sequence[Tensor], rays: tuple[Tensor, Tensor], depths: Tensor, quantiles: Tensor | None
) -> None:
    if planes.ndim != 5 or planes.shape[1] != 3 or min(planes.shape[2:]) < 1:
        raise UsageError("planes", expected="[n, 3, features, h, w]", found=str(tuple(planes.shape)))
    features, hidden = planes.shape[2], decoder[0].shape[0]
    wanted = ((hidden, features), (hidden,), (1 + features, hidden), (1 + features,))
    if tuple(tuple(tensor.shape) for tensor in decoder) != wanted or hidden < 1:
        raise UsageError("decoder", expected=str(wanted), found=str([tuple(tensor.shape) for tensor in decoder]))
    for tensor in decoder:
        if tensor.dtype != planes.dtype or tensor.device != planes.device:
            expected, found = f"{planes.dtype} on {planes.device}, as the planes", f"{tensor.dtype} on {tensor.device}"
            raise UsageError("decoder", expected=expected, found=found, remedy="convert the planes or the decoder")
    n, count = len(planes), rays[1].shape[1] if rays[1].ndim == 3 else -1
    for name, tensor in zip(("origins", "directions"), rays, strict=True):
        if tuple(tensor.shape) != (n, count, 3):
            raise UsageError(name, expected=f"({n}, rays, 3)", found=str(tuple(tensor.shape)))
    places = [("depths", depths, 2 if quantiles is None else 4)]
    if quantiles is not None:
        places.append(("quantiles", quantiles, 1))
    for name, tensor, least in places:
        fits = (
            tensor.ndim == 3
            and tensor.shape[0] in (1, n)
            and tensor.shape[1] in (1, count)
            and tensor.shape[2] >= least
        )
        if not fits:
            expected = f"({n} or 1, {count} or 1, {least} or more)"
            raise UsageError(name, expected=expected, found=str(tuple(tensor.shape)))


def _obstacle(impl: str, planes: Tensor, moves: bool) -> str:
    if moves:
        return "gradients to rays or depths, of which the kernels give none (no gradients to rays)"
    if planes.device.type != impl or planes.dtype not in _TYPES[impl]:
        return f"{planes.dtype} on {planes.device}"
    return machine_obstacle(impl)
