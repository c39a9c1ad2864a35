"""Where photos lie in the base's W: the encoder's codes where there is an encoder, and a search from there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from everface.engine.latents.encoder import encode
from everface.engine.latents.invert import Inversion, invert
from everface.engine.perception.losses import PreparedTargets
from everface.engine.progress import OnProgress, ignore_progress
from everface.engine.session.kit import Kit

__all__ = ["find_codes", "starting_codes"]


def find_codes(
    kit: Kit,
    targets: PreparedTargets,
    cameras: NDArray[np.floating],
    *,
    deadline: float | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Inversion:
    """Codes of photos under the base, by the workspace's inversion settings.

    Args:
        kit: networks and settings.
        targets: n photos at the base's resolution, prepared by the kit's loss.
        cameras: [n, 25] in 3D, which stay; unused in 2D.
        deadline: time.monotonic() by which to end, None for none.
        on_progress: hears the stage ``"invert"``.
    """
    return invert(
        kit.source.generator, kit.loss, targets, kit.codes(starting_codes(kit, targets.images), cameras),
        kit.config.invert, coordinates=kit.coordinates, deadline=deadline, on_progress=on_progress,
    )  # fmt: skip


def starting_codes(kit: Kit, photos: Tensor) -> Tensor:
    """Where a search begins for photos [n, 3, h, h] in [-1, 1]: the encoder's codes; the mean without an encoder."""
    if kit.encoder is None or not len(photos):
        return kit.w.mean.expand(len(photos), -1)
    return encode(kit.encoder, photos, kit.config.invert.batch)
