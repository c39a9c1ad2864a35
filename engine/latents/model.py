"""A generator as the searches in latent space see it: arrays in, pictures, losses and slopes out.

A code is a row [w_dim + camera_dim] in W, or [num_ws, w_dim + camera_dim] in W+. In 3D its last ``camera_dim`` = 25
numbers are the camera that it is seen from (in W+ the same in every row); in 2D ``camera_dim`` is 0, so the same lines
serve both. Arrays are float32 in C order; none that is passed is changed or kept by reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from everface.engine.generators.eg3d.mesh import Mesh

Floats = NDArray[np.float32]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class GeneratorShape:
    """Sizes of a generator.

    Attributes:
        resolution: side R of its pictures in pixels.
        num_ws: styles of a W+ code.
        w_dim: numbers of a style.
        z_dim: numbers of a Z code.
        camera_dim: numbers of a camera at the end of a code: 0 in 2D, 25 in 3D.
    """

    resolution: int
    num_ws: int
    w_dim: int
    z_dim: int
    camera_dim: int = 0

    @property
    def code_dim(self) -> int:
        """Numbers of a code's row."""
        return self.w_dim + self.camera_dim


class Targets(Protocol):
    """Photos prepared for comparison (perceptual features computed once), in a backend's own form."""

    def __len__(self) -> int:
        """How many photos."""
        ...


class FaceModel(Protocol):
    """A generator to look at: nothing here changes it, and calls from several threads are allowed."""

    @property
    def shape(self) -> GeneratorShape:
        """Its sizes."""
        ...

    def map(self, z: Floats) -> Floats:
        """W codes [n, w_dim] of Z codes [n, z_dim], without truncation; a 3D generator is told a frontal camera."""
        ...

    def render(self, codes: Floats) -> Floats:
        """Pictures float32 [n, R, R, 3], about [-1, 1], of codes in W or W+; in full precision.

        A 3D model remembers the planes of the last heads, so that a further view of one costs its rays alone.

        Raises:
            UsageError: codes of another shape.
        """
        ...

    def losses(self, codes: Floats, targets: Targets, index: Index | None = None) -> Floats:
        """Loss [m] of the pictures of codes [n, ...] against their targets, in full precision.

        Args:
            codes: in W or W+, as many as targets.
            targets: of ``everface.engine.learn.backend.Backend.prepare``.
            index: [m] which rows of both, all where None.
        """
        ...

    def loss_and_gradient(self, codes: Floats, targets: Targets, index: Index | None = None) -> tuple[Floats, Floats]:
        """Losses [m], and the derivative of each by its own code [m, ...], zero at cameras; in fast precision.

        Arguments as ``losses``.
        """
        ...

    def mesh(self, code: Floats, side: int) -> Mesh:
        """The surface of the head of one code in W or W+, on a grid of ``side`` points across; of a 3D model.

        Raises:
            UsageError: a 2D model.
        """
        ...


def join_camera(styles: Floats, cameras: NDArray[np.floating]) -> Floats:
    """Codes of styles [n, w_dim] or [n, num_ws, w_dim] with their cameras [n, camera_dim] at the end, in every row."""
    cameras = np.asarray(cameras, np.float32)
    if styles.ndim == 3:
        cameras = np.broadcast_to(cameras[:, None], (*styles.shape[:2], cameras.shape[-1]))
    return np.ascontiguousarray(np.concatenate([styles, cameras], axis=-1), np.float32)
