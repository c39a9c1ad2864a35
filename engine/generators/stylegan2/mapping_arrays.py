"""StyleGAN2's mapping network on NumPy arrays; without PyTorch."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError
from everface.engine.generators.stylegan2.weights import StyleGAN2Weights

_MULTIPLIER = 0.01  # of the layers' learning rate
_SQRT2 = math.sqrt(2.0)


def map_codes(weights: StyleGAN2Weights, z: NDArray[np.float32]) -> NDArray[np.float32]:
    """W codes [n, w_dim] of Z codes [n, z_dim], without truncation.

    Raises:
        UsageError: other shapes, or a generator that takes labels.
    """
    config, arrays = weights.config, weights.arrays
    if config.c_dim:
        raise UsageError("generator", expected="one without labels", found=f"labels of {config.c_dim} numbers")
    if z.ndim != 2 or z.shape[1] != config.z_dim:
        raise UsageError("z", expected=f"[n, {config.z_dim}]", found=str(z.shape))
    x = z / np.sqrt(np.square(z).mean(axis=1, keepdims=True) + np.float32(1e-8))
    for i in range(config.mapping_layers):
        weight, bias = arrays[f"mapping.fc{i}.weight"], arrays[f"mapping.fc{i}.bias"]
        x = x @ weight.T * np.float32(_MULTIPLIER / math.sqrt(weight.shape[1])) + bias * np.float32(_MULTIPLIER)
        x = np.where(x < 0, x * np.float32(0.2), x) * np.float32(_SQRT2)
    return np.asarray(x, np.float32)
