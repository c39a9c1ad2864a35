"""What every task of training does the same way."""

from __future__ import annotations

import math

from everface.engine.errors import NumericalError


def averaged_share(shown: int, pictures: int, half_life: int) -> float:
    """What averages keep of themselves after an update; the half-life grows with the run, as in StyleGAN2.

    Args:
        shown: pictures so far.
        pictures: of the update.
        half_life: in pictures, at the end.
    """
    return float(0.5 ** (pictures / min(half_life, max(half_life / 8, shown / 10))))


def require_finite(losses: dict[str, float]) -> None:
    """Raises NumericalError where a loss left the finite numbers."""
    if not all(math.isfinite(value) for value in losses.values()):
        remedy = "use a smaller learning rate"
        raise NumericalError("training", expected="finite losses", found=str(losses), remedy=remedy)
