"""Heads of a 3D workspace, seen from all sides: planes are drawn once a head, a further view costs only its rays."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from everface.engine.errors import UsageError
from everface.engine.generators.eg3d import TriPlaneGenerator
from everface.engine.generators.eg3d.mesh import Mesh, mesh_of
from everface.engine.photos.camera import LABEL_DIM, orbit
from everface.engine.progress import OnProgress
from everface.engine.session.kit import to_images
from everface.engine.session.portrait import Portrait, reconstruct_photo

if TYPE_CHECKING:
    from everface.engine.session.engine import Engine

__all__ = ["Heads", "Turntable", "check_yaw", "random_cameras", "require_3d", "turned_photo"]

_KEPT = 16
_MOST_YAW = 90.0


@dataclass(frozen=True, eq=False)
class Turntable:
    """A photo's head, seen from several sides.

    Attributes:
        images: uint8 [n, r, r, 3].
        yaws: degrees that the head seems turned, positive to the right of the picture, [n].
        portrait: the personal picture from the photo's own side, with its numbers.
        seconds_per_view: of the renderer, mean, after the planes are drawn.
    """

    images: NDArray[np.uint8]
    yaws: tuple[float, ...]
    portrait: Portrait
    seconds_per_view: float


class Heads:
    """Renders styles from cameras; the planes of the last few heads are kept.

    Args:
        generator: the personal one; later changes of its weights do not show in kept planes.
    """

    def __init__(self, generator: TriPlaneGenerator) -> None:
        self._generator = generator
        self._planes: OrderedDict[bytes, Tensor] = OrderedDict()

    @torch.no_grad()
    def planes(self, styles: Tensor) -> Tensor:
        """Planes [1, 3, features, r, r] of styles [d] or [num_ws, d], drawn at the first call."""
        key = styles.detach().numpy().tobytes() + bytes([styles.ndim])
        if key not in self._planes:
            self._planes[key] = self._generator.fast_planes(styles[None])
        self._planes.move_to_end(key)
        while len(self._planes) > _KEPT:
            self._planes.popitem(last=False)
        return self._planes[key]

    @torch.no_grad()
    def views(self, styles: Tensor, cameras: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Pictures uint8 [n, r, r, 3] of one head from cameras [n, 25]."""
        planes, generator = self.planes(styles), self._generator
        labels = torch.from_numpy(np.asarray(cameras, np.float32))
        if labels.ndim != 2 or labels.shape[1] != LABEL_DIM:
            raise UsageError("cameras", expected=f"[n, {LABEL_DIM}]", found=str(tuple(labels.shape)))
        made = [to_images(generator.view(planes, styles[None], one[None]).image) for one in labels]
        side = generator.config.resolution
        return np.concatenate(made) if made else np.zeros((0, side, side, 3), np.uint8)

    def of(self, codes: NDArray[np.float32], cameras: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Pictures uint8 [n, r, r, 3] of n heads, each from its camera."""
        side = self._generator.config.resolution
        if len(codes) != len(cameras):
            raise UsageError("cameras", expected=f"{len(codes)}", found=str(len(cameras)))
        made = [
            self.views(torch.from_numpy(code), one[None]) for code, one in zip(codes, np.asarray(cameras), strict=True)
        ]
        return np.concatenate(made) if made else np.zeros((0, side, side, 3), np.uint8)

    def mesh(self, styles: Tensor, side: int) -> Mesh:
        """The surface of a head; see :func:`everface.engine.generators.eg3d.mesh.mesh_of`."""
        return mesh_of(self._generator.field(self.planes(styles)), side=side)


def random_cameras(n: int, yaw: tuple[float, float], seed: int) -> NDArray[np.float64]:
    """Cameras [n, 25] of heads with random yaws in a range of degrees.

    Raises:
        UsageError: a range outside of +-90 degrees, or upside down.
    """
    low, high = check_yaw(yaw)
    return orbit(np.random.default_rng([seed, 6]).uniform(low, high, n)) if n else np.zeros((0, LABEL_DIM))


def check_yaw(yaw: tuple[float, float]) -> tuple[float, float]:
    """The range, if it can be looked at.

    Raises:
        UsageError: outside of +-90 degrees, or upside down.
    """
    low, high = yaw
    if not (np.isfinite([low, high]).all() and -_MOST_YAW <= low <= high <= _MOST_YAW):
        expected = f"LOW..HIGH in degrees within +-{_MOST_YAW:g}"
        raise UsageError("yaw", expected=expected, found=f"{low:g}..{high:g}", remedy="write it as -30..30")
    return low, high


def require_3d(engine: Engine) -> None:
    """Raises UsageError for a 2D workspace."""
    if not engine.kit.is_3d:
        remedy = "make one with `everface init --dimension 3d`; `everface edit --pose` turns a 2D head a little"
        raise UsageError(str(engine.path), expected="a 3D workspace", found="a 2D one", remedy=remedy)


def turned_photo(
    engine: Engine, path: Path, yaw: tuple[float, float], frames: int, on_progress: OnProgress
) -> Turntable:
    """See :meth:`everface.engine.session.engine.Engine.view`."""
    require_3d(engine)
    low, high = check_yaw(yaw)
    if not 1 <= frames <= 1000:
        raise UsageError("frames", expected="1 to 1000", found=str(frames))
    portrait = reconstruct_photo(engine, path, refine=False, on_progress=on_progress)
    yaws = np.linspace(low, high, frames)
    styles = torch.from_numpy(portrait.styles)
    engine.heads.planes(styles)
    began = time.perf_counter()
    images = engine.heads.views(styles, orbit(yaws))
    seconds = (time.perf_counter() - began) / frames
    return Turntable(images, tuple(yaws.tolist()), portrait, seconds)
