"""Adam on an array (Kingma and Ba, ICLR 2015), for searches of a few hundred numbers."""

from __future__ import annotations

import numpy as np

from everface.engine.latents.model import Floats

_EPSILON = 1e-8


class Adam:
    """Moments of one array of parameters.

    Args:
        values: changed in place by ``step``.
        betas: decay of the mean and of the mean square of gradients.
    """

    def __init__(self, values: Floats, betas: tuple[float, float]) -> None:
        self.values, self._betas, self._steps = values, betas, 0
        self._mean, self._square = np.zeros_like(values), np.zeros_like(values)

    def step(self, gradient: Floats, learning_rate: float) -> None:
        """Moves the values against the gradient."""
        (first, second), self._steps = self._betas, self._steps + 1
        self._mean += np.float32(1 - first) * (gradient - self._mean)
        self._square *= np.float32(second)
        self._square += np.float32(1 - second) * gradient * gradient
        scale = np.sqrt(self._square) / np.float32((1 - second**self._steps) ** 0.5) + np.float32(_EPSILON)
        self.values -= np.float32(learning_rate / (1 - first**self._steps)) * self._mean / scale
