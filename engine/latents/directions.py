"""Directions in W that change one thing about a face, learned from measurements on generated pictures.

After Shen et al., "InterFaceGAN" (CVPR 2020), with ridge regression on a measured quantity in place of a classifier.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from everface.engine.errors import CheckpointError, UsageError


@dataclass(frozen=True, eq=False)
class Direction:
    """A way to change a face.

    Attributes:
        name: what changes, such as ``"pose"``.
        unit: what one step is, such as ``"degrees of yaw"``.
        step: [d] float32: ``w + t * step`` changes the quantity by about t.
        correlation: of the linear prediction with the measurement on codes that it was not fitted to.
    """

    name: str
    unit: str
    step: NDArray[np.float32]
    correlation: float


def fit_direction(
    name: str,
    unit: str,
    codes: NDArray[np.floating],
    values: NDArray[np.floating],
    *,
    beside: NDArray[np.floating] | None = None,
    ridge: float = 0.1,
) -> Direction:
    """Fits a direction on four fifths of the codes and judges it on the rest.

    The step is the least change of W, measured by W's own covariance, that the linear model says moves the quantity by
    one unit and leaves the quantities beside it where they are.

    Args:
        name: of the quantity.
        unit: of one step.
        codes: [n, d] W codes.
        values: [n] the quantity measured on each code's picture.
        beside: [n, k] other quantities that should not change.
        ridge: regularisation, as a share of the mean variance of W.

    Raises:
        UsageError: fewer than 50 codes, shapes that do not fit, or a quantity that never changes.
    """
    w, y = np.asarray(codes, np.float64), np.asarray(values, np.float64)
    if w.ndim != 2 or y.shape != (len(w),) or len(w) < 50 or not (np.isfinite(w).all() and np.isfinite(y).all()):
        expected = "finite codes [n, d] and values [n], n at least 50"
        raise UsageError("codes", expected=expected, found=f"{w.shape} and {y.shape}")
    if y.std() < 1e-9:
        raise UsageError(
            "values", expected="a quantity that varies", found="a constant", remedy="measure more pictures"
        )
    others = np.zeros((len(w), 0)) if beside is None else np.asarray(beside, np.float64)
    fitted = np.arange(len(w)) % 5 != 0
    mean = w[fitted].mean(axis=0)
    x, targets = w - mean, np.column_stack([y, others])
    targets = targets - targets[fitted].mean(axis=0)
    covariance = x[fitted].T @ x[fitted] / fitted.sum()
    regular = covariance + ridge * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    slopes = np.linalg.solve(regular, x[fitted].T @ targets[fitted] / fitted.sum())
    # Least s' C^-1 s with slopes' s = (1, 0, ..): s = C slopes (slopes' C slopes)^-1 (1, 0, ..).
    spread = covariance @ slopes
    wanted = np.zeros(slopes.shape[1])
    wanted[0] = 1.0
    step = spread @ np.linalg.lstsq(slopes.T @ spread, wanted, rcond=None)[0]
    kept = ~fitted
    correlation = float(np.corrcoef(x[kept] @ slopes[:, 0], y[kept])[0, 1])
    return Direction(name, unit, step.astype(np.float32), correlation)


def directions_to_bytes(directions: Sequence[Direction], base_sha256: str) -> bytes:
    """Writes directions as safetensors, bound to the base that they were measured on."""
    entries = [
        {"name": direction.name, "unit": direction.unit, "correlation": direction.correlation}
        for direction in directions
    ]
    metadata = {"architecture": "everface-directions", "base_sha256": base_sha256, "directions": json.dumps(entries)}
    return bytes(safetensors.numpy.save({direction.name: direction.step for direction in directions}, metadata))


def directions_from_bytes(data: bytes, subject: str, base_sha256: str) -> tuple[Direction, ...]:
    """Reads ``directions_to_bytes``.

    Raises:
        CheckpointError: not such a file, or one of another base.
    """
    try:
        size = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + size])["__metadata__"]
        steps = safetensors.numpy.load(data)
        entries = json.loads(metadata["directions"])
        directions = tuple(
            Direction(
                entry["name"], entry["unit"], steps[entry["name"]].astype(np.float32), float(entry["correlation"])
            )
            for entry in entries
        )
        whose = metadata["base_sha256"]
    except (SafetensorError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(subject, expected="directions of a base", found=str(error)[:200]) from error
    if whose != base_sha256:
        remedy = "measure them anew with tools/make_directions.py"
        raise CheckpointError(subject, expected=f"base {base_sha256[:12]}", found=str(whose)[:12], remedy=remedy)
    return directions
