"""A StyleGAN2 generator in native code, to look at and to tune."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from everface import _native
from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.lora_weights import LoRAWeights
from everface.engine.generators.stylegan2.weights import StyleGAN2Weights
from everface.engine.latents.model import Floats, GeneratorShape, Index, Targets
from everface.engine.learn.backend import LearnerState
from everface.engine.learn.native_targets import NativeTargets, rows_of

if TYPE_CHECKING:
    from everface.engine.generators.eg3d.mesh import Mesh

_PREFIX = "synthesis."


class NativeModel:
    """A generator to look at.

    Args:
        weights: of the generator; with ``lora``, of the base.
        loss: of its pictures.
        lora: factors that are tuned instead of all weights.
    """

    def __init__(
        self, weights: StyleGAN2Weights, loss: _native.ReconstructionLoss, lora: LoRAWeights | None = None
    ) -> None:
        self._weights, self._loss, self._lora = weights, loss, lora
        clamp = weights.config.conv_clamp
        self._native = _native.Learner(
            _of_synthesis(weights.arrays),
            {} if lora is None else _of_synthesis(lora.factors),
            1.0 if lora is None else lora.config.scale,
            math.inf if clamp is None else clamp,
            loss,
        )

    @property
    def shape(self) -> GeneratorShape:
        """Its sizes."""
        config = self._weights.config
        return GeneratorShape(config.resolution, config.num_ws, config.w_dim, config.z_dim)

    def map(self, z: Floats) -> Floats:
        """W codes of Z codes."""
        return self._weights.map(z)

    def render(self, codes: Floats) -> Floats:
        """Pictures in full precision."""
        return self._native.render(self._checked(codes))

    def losses(self, codes: Floats, targets: Targets, index: Index | None = None) -> Floats:
        """Losses in full precision."""
        own = NativeTargets.checked(targets)
        if own.degradation is None:
            return self._native.losses(self._checked(codes), own.photos, rows_of(index, len(own)))
        rows = rows_of(index, len(own))
        return self._loss(own.degraded(self.render(codes[rows])), own.photos, rows, False)[0]

    def loss_and_gradient(self, codes: Floats, targets: Targets, index: Index | None = None) -> tuple[Floats, Floats]:
        """Losses in fast precision, and their slopes."""
        own = NativeTargets.checked(targets)
        rows = rows_of(index, len(own))
        if own.degradation is None:
            return self._native.loss_and_gradient(self._checked(codes), own.photos, rows)
        some = self._checked(codes[rows])
        losses, slopes = self._loss(own.degraded(self._native.render(some)), own.photos, rows, True)
        if slopes is None:
            raise RuntimeError("the loss gave no gradient")
        return losses, self._native.pull_back(some, own.pulled_back(slopes))

    def mesh(self, code: Floats, side: int) -> Mesh:
        """Raises UsageError: a 2D generator has no surface."""
        _no_mesh()

    def _checked(self, codes: Floats) -> Floats:
        config = self._weights.config
        if codes.shape[-1] != config.w_dim or (codes.ndim == 3 and codes.shape[1] != config.num_ws):
            expected = f"[n, {config.w_dim}] or [n, {config.num_ws}, {config.w_dim}]"
            raise UsageError("codes", expected=expected, found=str(codes.shape), remedy="pass codes of this generator")
        return np.ascontiguousarray(codes, np.float32)


class NativeLearner(NativeModel):
    """A generator that is tuned, whole or by the factors of a LoRA.

    Args:
        weights: of the generator; with ``lora``, of the base.
        loss: of its pictures.
        base_sha256: of the base that it comes from, for the model file.
        lora: factors that are tuned instead of all weights.
    """

    def __init__(
        self,
        weights: StyleGAN2Weights,
        loss: _native.ReconstructionLoss,
        base_sha256: str,
        lora: LoRAWeights | None = None,
    ) -> None:
        super().__init__(weights, loss, lora)
        self._base_sha256 = base_sha256

    def step(self, codes: Floats, targets: Targets, index: Index, learning_rate: float) -> float:
        """One update by Adam."""
        own = NativeTargets.checked(targets)
        if own.degradation is not None:
            raise UsageError("targets", expected="undegraded photos", found="degraded ones")
        return self._native.step(self._checked(codes), own.photos, rows_of(index, len(own)), learning_rate)

    def state(self) -> LearnerState:
        """Weights or factors, moments and the count of steps, each in one block."""
        state = self._native.state()
        return {**state, "steps": np.array([state["steps"]], np.int64)}

    def restore(self, state: LearnerState) -> None:
        """Goes back to a state."""
        try:
            values, mean, square = (
                np.ascontiguousarray(state[name], np.float32) for name in ("values", "mean", "square")
            )
            self._native.restore(values, mean, square, steps=int(np.asarray(state["steps"], np.int64)[0]))
        except (KeyError, ValueError, IndexError) as error:
            found = " ".join(str(error).split())[:120]
            raise CheckpointError("state", expected="that of this learner", found=found) from error

    def model_bytes(self) -> bytes:
        """The model file."""
        metadata = {"base_sha256": self._base_sha256, "kind": "personal"}
        if self._lora is not None:
            factors = {_PREFIX + name: array for name, array in self._native.tuned().items()}
            return LoRAWeights(self._lora.config, factors).to_bytes(self._base_sha256, {"kind": "personal"})
        tuned = {_PREFIX + name: array for name, array in self._native.weights().items()}
        config = self._weights.config
        return StyleGAN2Weights(config, self._weights.arrays | tuned).to_bytes(metadata)


def _of_synthesis(arrays: dict[str, Floats]) -> dict[str, Floats]:
    return {
        name.removeprefix(_PREFIX): np.asarray(array, np.float32, order="C")
        for name, array in arrays.items()
        if name.startswith(_PREFIX) and not name.endswith("resample_filter")
    }


def _no_mesh() -> NoReturn:
    raise UsageError("model", expected="a 3D generator", found="a 2D one", remedy="use a 3D workspace")
