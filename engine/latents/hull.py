"""The personal hull: what a person's anchors span in latent space, and MyStyle's dilated P_beta around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError
from everface.engine.ops.hull.projection import Hull, ProjectOptions

MYSTYLE_BETA = 0.02


@dataclass(frozen=True)
class Placement:
    """Where latents lie relative to the personal hull.

    Attributes:
        nearest: [n, d] float64, the nearest points of the hull.
        weights: [n, m] float64, their barycentric weights over the anchors (rows sum to 1, each >= -beta).
        distance: [n] float64, how far the latents are from it.
    """

    nearest: NDArray[np.float64]
    weights: NDArray[np.float64]
    distance: NDArray[np.float64]


class PersonalHull:
    """Convex combinations of anchors with weights >= -beta (MyStyle, Nitzan et al. 2022, section 3.2).

    Prepared once, so that a query takes microseconds inside an interactive edit.

    Args:
        anchors: [m, d] W codes of the person.
        beta: dilation; 0.02 is MyStyle's, 0 the hull itself.

    Raises:
        UsageError: not such an array, or NaN or infinity in it.
    """

    def __init__(self, anchors: NDArray[np.floating], beta: float = MYSTYLE_BETA) -> None:
        self.anchors = np.array(anchors, dtype=np.float64)
        self.beta = beta
        self._hull = Hull(self.anchors, beta, ProjectOptions(threads=1))

    def place(self, latents: NDArray[np.floating]) -> Placement:
        """Projects latents [n, d] onto the hull."""
        projection = self._hull.project(np.asarray(latents, dtype=np.float64))
        weights = np.asarray(projection.weights)
        return Placement(weights @ self.anchors, weights, np.asarray(projection.distance))

    def pull(self, latents: NDArray[np.floating], strength: float) -> NDArray[np.float64]:
        """Moves latents [n, d] towards their nearest points: 0 leaves them, 1 puts them on the hull.

        Raises:
            UsageError: a strength outside 0 to 1.
        """
        if not 0.0 <= strength <= 1.0:
            raise UsageError("strength", expected="0 to 1", found=repr(strength))
        codes = np.asarray(latents, dtype=np.float64)
        return codes + strength * (self.place(codes).nearest - codes)
