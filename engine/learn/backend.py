"""The contract between the verbs, which are written once over NumPy arrays, and what computes: PyTorch or native code.

A tuning step is one call of ``Learner.step``, a step of a search one call of
``everface.engine.latents.model.FaceModel.loss_and_gradient``: progress, checkpoints and Ctrl-C lie between them, in
Python. Codes and targets of a whole run are prepared once and passed as they are, with the indices of the few that the
step sees. Arrays are float32 in C order; none that is passed is changed or kept by reference.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from everface.engine.config import EngineConfig
from everface.engine.errors import CheckpointError
from everface.engine.latents.model import FaceModel, Floats, GeneratorShape, Index, Targets
from everface.engine.optional import optional_packages

if TYPE_CHECKING:
    from everface.engine.generators.bases import Base
    from everface.engine.generators.protocol import FaceGenerator
    from everface.engine.latents.degradation import Degradation

__all__ = [
    "Backend", "FaceModel", "Floats", "GeneratorShape", "Index", "Learner", "LearnerState", "LossConfig", "Targets",
    "open_backend",
]  # fmt: skip

LearnerState = Mapping[str, NDArray[np.generic]]
"""Weights, moments and the count of steps of a learner, named by its backend."""


@dataclass(frozen=True)
class LossConfig:
    """The loss of a picture: MobileNetV2 distance + ``mse_weight`` * mean squared error, images in [-1, 1].

    Attributes:
        mse_weight: at least 0.
        side: smaller pictures are enlarged to this side, by a whole factor, before the perceptual network.
    """

    mse_weight: float = 1.0
    side: int = 128


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

    def state(self) -> LearnerState:
        """All that tuning needs to go on, copied."""
        ...

    def restore(self, state: LearnerState) -> None:
        """Goes back to a ``state`` of the same model and backend.

        Raises:
            CheckpointError: of another.
        """
        ...

    def model_bytes(self) -> bytes:
        """The model file: the whole generator or the LoRA's factors, as safetensors in half precision.

        Raises:
            CheckpointError: a weight is not finite in half precision.
        """
        ...


class Backend(Protocol):
    """What makes models of one base, prepares photos and knows faces. Calls from several threads are allowed."""

    @property
    def name(self) -> str:
        """``"torch"`` or ``"native"``."""
        ...

    @property
    def base(self) -> Base[FaceGenerator]:
        """The base: its name, file hash, text entries and companions."""
        ...

    @property
    def shape(self) -> GeneratorShape:
        """Of the base and of everything tuned from it."""
        ...

    @property
    def mean(self) -> Floats:
        """Mean [w_dim] of W under the base's mapping."""
        ...

    @property
    def coordinates(self) -> Floats | None:
        """L [w_dim, w_dim] in which a search takes even steps, where the base has them."""
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
            degradation: done to every picture before it is compared with one of the photos, and ``of_photo`` of it to
                these: each channel x [R, R] becomes ``mask * (A x A')``, a matrix and a mask that it gives.
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


def open_backend(config: EngineConfig, *, side: int = LossConfig().side) -> Backend:
    """The backend for a workspace's settings.

    Args:
        config: says base, dimension, loss, LoRA, crop and seed.
        side: see ``LossConfig``.

    Raises:
        CheckpointError: no such base, one of the other dimension, or a 2D one that was trained with labels.
        MissingBackendError: 3D, or PyTorch was asked for, and it is not installed.
    """
    loss = LossConfig(config.tune.mse_weight, side)
    if config.dimension == "2d" and os.environ.get("EVERFACE_BACKEND", "native") != "torch":
        from everface.engine.learn.native_backend import NativeBackend

        return _without_labels(NativeBackend(config, loss))
    with optional_packages("3D" if config.dimension == "3d" else "EVERFACE_BACKEND=torch"):
        from everface.engine.learn.torch_backend import TorchBackend

    return _without_labels(TorchBackend(config, loss))


def _without_labels(backend: Backend) -> Backend:
    base = backend.base
    if base.dimension == "2d" and (labels := base.metadata.get("c_dim", "0")) != "0":
        remedy = "choose a base that was trained without labels"
        raise CheckpointError(f"base {base.name}", expected="no labels", found=labels, remedy=remedy)
    return backend
