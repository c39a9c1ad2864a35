"""The contract between the verbs, which are written once over NumPy arrays, and what computes: PyTorch or native code.

A code is a row [w_dim + camera_dim] in W, or [num_ws, w_dim + camera_dim] in W+. In 3D its last ``camera_dim`` = 25
numbers are the camera that it is seen from (in W+ the same in every row); in 2D ``camera_dim`` is 0, so the same lines
serve both. Arrays that come in are float32 in C order; none is changed, none is kept by reference.

A tuning step is one call of :meth:`Learner.step`, a step of a search one call of :meth:`FaceModel.loss_and_gradient`:
progress, checkpoints and Ctrl-C lie between them, in Python. Codes and targets of a whole run are prepared once and
passed as they are, with the indices of the few that the step sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from everface.engine.generators.eg3d.mesh import Mesh
    from everface.engine.latents.degradation import Degradation

__all__ = [
    "Backend",
    "BaseIdentity",
    "FaceModel",
    "Floats",
    "GeneratorShape",
    "Index",
    "Learner",
    "LossConfig",
    "Targets",
]

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


@dataclass(frozen=True)
class BaseIdentity:
    """Which base a backend draws with: its name or path, the SHA-256 of its file, the file's text entries."""

    name: str
    sha256: str
    metadata: dict[str, str]


@dataclass(frozen=True)
class LossConfig:
    """The loss of a picture: MobileNetV2 distance + ``mse_weight`` * mean squared error, images in [-1, 1].

    Attributes:
        mse_weight: at least 0.
        side: smaller pictures are enlarged to this side, by a whole factor, before the perceptual network.
    """

    mse_weight: float = 1.0
    side: int = 128


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
            targets: of :meth:`Backend.prepare`.
            index: [m] which of them, all where None.
        """
        ...

    def loss_and_gradient(self, codes: Floats, targets: Targets, index: Index | None = None) -> tuple[Floats, Floats]:
        """Losses [m], and the derivative of each by its own code [m, ...], zero at cameras; in fast precision.

        Arguments as :meth:`losses`.
        """
        ...

    def mesh(self, code: Floats, side: int) -> Mesh:
        """The surface of a head, on a grid of ``side`` points across; of a 3D model.

        Raises:
            UsageError: a 2D model.
        """
        ...


class Learner(FaceModel, Protocol):
    """A generator that is tuned, whole or by the factors of a LoRA, with Adam's moments (0.9, 0.999)."""

    def step(self, codes: Floats, targets: Targets, index: Index, learning_rate: float) -> float:
        """One update by Adam on the mean loss of some images; returns that loss (before the update).

        Args:
            codes: [n, ...] of the whole run.
            targets: n of them.
            index: [b] which ones this step sees; repeats are allowed.
            learning_rate: of Adam.
        """
        ...

    def state(self) -> dict[str, NDArray[np.generic]]:
        """All that tuning needs to go on, copied: weights, moments and the count of steps, named by the backend."""
        ...

    def restore(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Goes back to a :meth:`state` of the same model and backend.

        Raises:
            CheckpointError: of another.
        """
        ...

    def model_bytes(self) -> bytes:
        """The model file: the whole generator or the LoRA's factors, as safetensors in half precision."""
        ...


class Backend(Protocol):
    """What makes models of one base, prepares photos and knows faces."""

    @property
    def name(self) -> str:
        """``"torch"`` or ``"native"``."""
        ...

    @property
    def base(self) -> BaseIdentity:
        """The base."""
        ...

    @property
    def shape(self) -> GeneratorShape:
        """Of the base and of everything tuned from it."""
        ...

    @property
    def mean(self) -> Floats:
        """Mean [w_dim] of W under the base's mapping."""
        ...

    def model(self, content: bytes | None) -> FaceModel:
        """The generator in a model file, a LoRA merged into the base; the base for None.

        Raises:
            CheckpointError: not a model file, or one of another base.
        """
        ...

    def learner(self, content: bytes | None) -> Learner:
        """What is tuned from a model file on, or from the base for None: a LoRA's factors where the settings say so.

        Raises:
            CheckpointError: not a model file of this base, or a whole generator where a LoRA is to be tuned.
        """
        ...

    def prepare(self, images: NDArray[np.uint8] | Floats, degradation: Degradation | None = None) -> Targets:
        """Photos to compare pictures with.

        Args:
            images: [n, R, R, 3] uint8, or float32 in [-1, 1].
            degradation: done to these photos, and to every picture before it is compared with one of them: each
                channel x [R, R] becomes ``mask * (A x A')``, a matrix and a mask that the degradation gives.
        """
        ...

    def join(self, *targets: Targets) -> Targets:
        """All targets in order; none of them degraded."""
        ...

    def encode(self, images: NDArray[np.uint8]) -> Floats | None:
        """W codes [n, w_dim] of aligned photos uint8 [n, R, R, 3] in one pass; None for a base without an encoder."""
        ...

    def embed(self, images: NDArray[np.uint8]) -> Floats:
        """Identity descriptors [n, e] of aligned photos uint8 [n, R, R, 3]."""
        ...
