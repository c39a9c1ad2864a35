"""What an encoder is worth: photos of people who judge, found in W from its codes and from the mean code.

``everface bench encoder FACES``; FACES is the folder or zip file that the base was trained on.
The judges are the people with the most photos, whom ``everface pretrain`` sets aside; where nobody has ten photos, the
held-out people.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from everface.bench.base import HELD_OUT
from everface.bench.common import Listen, Row
from everface.bench.features import IndependentDistance, missing_packages
from everface.bench.protocol import INDEPENDENT
from everface.engine.config import EngineConfig, InvertConfig
from everface.engine.errors import NothingToDoError
from everface.engine.latents.invert import invert
from everface.engine.latents.model import Floats
from everface.engine.learn.backend import Backend, open_backend
from everface.engine.perception.tensors import to_images
from everface.engine.pictures import to_uint8
from everface.engine.pretrain.config import PretrainConfig
from everface.engine.pretrain.evaluate import judges_of
from everface.engine.pretrain.faces import read_faces
from everface.engine.progress import OnProgress, ignore_progress

LONG = InvertConfig(300, 0.1, 8)
SHORT = InvertConfig(30, 0.1, 8)
_LOSS = "MobileNetV2 distance + MSE"


def encoder_rows(backend: Backend, photos: NDArray[np.uint8], on_progress: OnProgress = ignore_progress) -> list[Row]:
    """The encoder alone, 30 steps from its codes, and 30 from the mean, beside 300 steps from the mean.

    The short searches run in the base's coordinates, where it has them (``everface.engine.latents.coordinates``).

    Args:
        backend: of a base with an encoder.
        photos: uint8 [n, R, R, 3] at the base's resolution.
        on_progress: hears the stage ``"invert"``.

    Raises:
        NothingToDoError: the base has no encoder.
    """
    first = backend.encode(photos)
    if first is None:
        remedy = "train one with `everface pretrain --encoder-only`"
        raise NothingToDoError("encoder", expected="an encoder beside the base", found="none", remedy=remedy)
    model, targets, even = backend.model(None), backend.prepare(photos), backend.coordinates

    def short(start: Floats) -> Floats:
        return invert(model, targets, start, SHORT, coordinates=even, on_progress=on_progress).codes

    codes = {
        "encoder": first,
        "encoder + 30 steps": short(first),
        "30 steps from the mean": short(backend.mean),
        "300 steps from the mean": invert(model, targets, backend.mean, LONG, on_progress=on_progress).codes,
    }
    independent = None if missing_packages() else IndependentDistance()
    measured = {}
    for name, these in codes.items():
        measured[name] = {_LOSS: float(model.losses(these, targets).mean())}
        if independent is not None:
            measured[name][INDEPENDENT] = float(independent(to_uint8(model.render(these)), photos).mean())
    long = measured.pop("300 steps from the mean")
    unit = f"{len(photos)} held-out photos"
    return [
        Row(case, metric, value, unit).beside("300 steps from the mean", long[metric])
        for case, errors in measured.items()
        for metric, value in errors.items()
    ]


def run(
    faces: Path, *, base: str = "base64", photos: int = 32, cache: Path | None = None,
    on_progress: Listen = ignore_progress,
) -> list[Row]:  # fmt: skip
    """Measures the encoder beside a base.

    Args:
        faces: folder or zip file that the base was trained on.
        base: its name, or its file.
        photos: how many.
        cache: folder for decoded faces.
        on_progress: hears the stages.
    """
    backend = open_backend(EngineConfig(base=base))
    with tempfile.TemporaryDirectory(prefix="everface-encoder-") as scratch:
        aside = PretrainConfig.set_aside
        known = read_faces(
            faces, backend.shape.resolution, cache or Path(scratch), HELD_OUT, on_progress, set_aside=aside
        )
        images = to_images(known.batch(judges_of(known, photos)))
        return encoder_rows(backend, images, on_progress)
