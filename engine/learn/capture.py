"""Where photos lie in the base's W: the encoder's codes where there is an encoder, and a search from there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from everface.engine.config import InvertConfig
from everface.engine.latents.invert import Inversion, invert
from everface.engine.latents.model import Targets, join_camera
from everface.engine.learn.backend import Backend
from everface.engine.progress import OnProgress, ignore_progress

_FROM_MEAN = 3  # times the steps that suffice from the encoder's code


def capture(
    backend: Backend,
    images: NDArray[np.uint8],
    targets: Targets,
    cameras: NDArray[np.floating],
    config: InvertConfig,
    *,
    deadline: float | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Inversion:
    """Codes of photos under the base: a person's anchors.

    Args:
        backend: of the base.
        images: n aligned photos, uint8 [n, R, R, 3].
        targets: the same, prepared.
        cameras: [n, camera_dim] from where they see the face, which stay; [n, 0] in 2D.
        config: of the search; from the mean of W, where there is no encoder, it takes three times the steps.
        deadline: time.monotonic() by which to end, None for none.
        on_progress: hears the stage ``"invert"``.
    """
    styles = backend.encode(images)
    if styles is None:
        styles = np.broadcast_to(backend.mean, (len(images), backend.shape.w_dim))
        config = replace(config, steps=_FROM_MEAN * config.steps)
    return invert(
        backend.model(None), targets, join_camera(styles, cameras), config,
        coordinates=backend.coordinates, deadline=deadline, on_progress=on_progress,
    )  # fmt: skip
