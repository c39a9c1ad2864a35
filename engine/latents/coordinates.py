"""Coordinates of W in which a search takes even steps, and their files.

In W some directions repaint the whole face and most hardly show. Adam scales its steps by coordinate, which helps only
where such directions lie along coordinates; in W they do not. With H = E[J' J], J the derivative of what the loss
compares by the code, the search runs over v in ``w = start + v L``, L = (H + damping)^-1/2 (the Gauss-Newton matrix,
Schraudolph, Neural Computation 2002). H is measured by ``everface.engine.latents.curvature``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.weights import pack_arrays, read_arrays, read_metadata
from everface.engine.latents.model import Floats

_DAMPING = 0.1
_SCALE = 6.0
"""Root mean square of L's eigenvalues: with it the learning rate that suits W suits v."""


def coordinates_of(curvature: NDArray[np.float64]) -> Floats:
    """L [d, d] = (H + damping)^-1/2, symmetric, float32, scaled for the learning rates that suit W.

    Args:
        curvature: H [d, d], from ``everface.engine.latents.curvature.measure_curvature``.

    Raises:
        UsageError: H is not a finite square matrix, or zero.
    """
    square = curvature.ndim == 2 and curvature.shape[0] == curvature.shape[1]
    if not square or not np.isfinite(curvature).all() or not curvature.any():
        raise UsageError("curvature", expected="a finite square matrix that is not zero", found=str(curvature.shape))
    values, vectors = np.linalg.eigh(np.asarray(curvature, np.float64))
    values = np.maximum(values, 0)
    lengths = 1 / np.sqrt(values + _DAMPING * values.mean())
    lengths *= _SCALE / np.sqrt(np.square(lengths).mean())
    return np.asarray((vectors * lengths) @ vectors.T, np.float32)


def displaced(origin: Floats, moved: Floats, coordinates: Floats | None) -> Floats:
    """``origin + moved L`` [..., d], or the plain sum without coordinates."""
    return np.asarray(origin + (moved if coordinates is None else moved @ coordinates), np.float32)


def coordinates_to_bytes(coordinates: Floats, base_sha256: str) -> bytes:
    """Writes coordinates as safetensors in half precision, bound to the base that they were measured on."""
    metadata = {"architecture": "everface-coordinates", "base_sha256": base_sha256}
    return pack_arrays({"coordinates": coordinates.astype(np.float16)}, metadata)


def coordinates_from_bytes(data: bytes, subject: str, base_sha256: str) -> Floats:
    """Reads ``coordinates_to_bytes``.

    Args:
        data: the whole file.
        subject: what to call it in errors.
        base_sha256: of the base that they shall belong to.

    Raises:
        CheckpointError: not such a file, or one of another base.
    """
    measured_on = read_metadata(data, subject).get("base_sha256", "unknown")
    arrays = read_arrays(data, subject)
    if "coordinates" not in arrays:
        raise CheckpointError(subject, expected="coordinates of a base", found=", ".join(arrays)[:200] or "nothing")
    coordinates = np.asarray(arrays["coordinates"], np.float32)
    if measured_on != base_sha256:
        remedy = "measure them anew with `everface pretrain`, or delete the file"
        raise CheckpointError(subject, expected=f"base {base_sha256[:12]}", found=measured_on[:12], remedy=remedy)
    shape = coordinates.shape
    if len(shape) != 2 or shape[0] != shape[1] or not np.isfinite(coordinates).all():
        raise CheckpointError(subject, expected="a finite square matrix", found=str(shape))
    return coordinates
