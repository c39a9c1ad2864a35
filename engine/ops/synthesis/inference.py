"""Inference: a synthesis network with its weights packed once, on NumPy arrays, without allocation after the first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from everface import _native
from everface.engine.errors import MissingBackendError, UsageError
from everface.engine.ops.synthesis.weights import MAX_COLOURS, SynthesisWeights

__all__ = ["PackedSynthesis"]

_PRECISIONS = ("fp32", "bf16")
Floats = NDArray[np.float32]


class PackedSynthesis:
    """Renders images from styles with a snapshot of a network's weights.

    The batch size may change from call to call; memory grows to the largest and is then reused. Calls from several
    threads run one after the other.

    Args:
        weights: float32 arrays in C order, with at most 4 colours. Later changes of them do not show.
        precision: ``"fp32"`` or ``"bf16"`` (activations and products in bfloat16, sums and styles in float32).

    Raises:
        UsageError: an unknown precision, or arrays that do not fit together, naming the first.
        MissingBackendError: the network has more colours than the kernels take.
    """

    def __init__(self, weights: SynthesisWeights[Floats], *, precision: str = "fp32") -> None:
        if precision not in _PRECISIONS:
            expected = " or ".join(_PRECISIONS)
            raise UsageError("precision", expected=expected, found=repr(precision), remedy="choose one of them")
        if weights.colours > MAX_COLOURS:
            remedy = "render with everface.engine.ops.synthesis.learning.synthesize"
            expected, found = f"up to {MAX_COLOURS} colours", f"{weights.colours}"
            raise MissingBackendError("packed synthesis", expected=expected, found=found, remedy=remedy)
        self.precision = precision
        self.num_ws, self.w_dim = weights.num_ws, weights.w_dim
        self.image_shape = (weights.colours, weights.resolution, weights.resolution)
        layers = [_native.SynthesisLayer(**layer.parameters(), noise=layer.noise) for layer in weights.layers]
        try:
            bound = _native.SynthesisWeights(constant=weights.constant, layers=layers, clamp=weights.clamp)
            self._native = _native.PackedSynthesis(bound, precision=precision)
        except ValueError as error:
            raise UsageError(f"weights: {error}", remedy="pass the arrays of one network") from error

    def __call__(self, ws: NDArray[np.floating], out: Floats | None = None) -> Floats:
        """Maps styles ``[n, num_ws, w_dim]``, or ``[n, w_dim]`` for every layer, to images.

        Args:
            ws: taken as float32.
            out: float32 ``[n, colours, r, r]`` in C order to write to; made anew by default.

        Returns:
            ``out``: images in about [-1, 1], not clamped.

        Raises:
            UsageError: shapes or types outside of this.
        """
        styles = np.asarray(ws, dtype=np.float32)
        if styles.ndim == 2:
            styles = np.broadcast_to(styles[:, None], (len(styles), self.num_ws, styles.shape[1]))
        if styles.ndim != 3 or styles.shape[1:] != (self.num_ws, self.w_dim):
            expected = f"[n, {self.num_ws}, {self.w_dim}] or [n, {self.w_dim}]"
            raise UsageError("ws", expected=expected, found=str(ws.shape), remedy="pass styles of this network")
        images = np.empty((len(styles), *self.image_shape), np.float32) if out is None else out
        try:
            self._native.run(ws=np.ascontiguousarray(styles), out=images)
        except ValueError as error:
            raise UsageError(str(error), remedy="pass an array of that kind, or None") from error
        return images

    @property
    def weight_bytes(self) -> int:
        """Bytes of the packed weights."""
        return self._native.weight_bytes

    @property
    def working_bytes(self) -> int:
        """Bytes of activations and scratch so far (the scratch is shared by all operators of the process)."""
        return self._native.arena_bytes + _native.scratch_bytes()
