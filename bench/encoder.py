"""What an encoder is worth: photos of people who judge, found in W from its codes and from the mean code.

``python -m everface.bench.encoder FACES --json FILE``; FACES is the folder or zip file that the base was trained on.
The judges are the people with the most photos, whom ``everface pretrain`` sets aside; where nobody has ten photos, the
held-out people.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from everface.bench.base import HELD_OUT
from everface.bench.common import BenchResult, Row, compare, machine, print_rows, write_json
from everface.bench.progress import PlainProgress
from everface.bench.replay_experiment.features import INDEPENDENT, IndependentDistance, missing_packages
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
        compare(case, metric, value, unit, peer="300 steps from the mean", theirs=long[metric], lower_is_better=True)
        for case, errors in measured.items()
        for metric, value in errors.items()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m everface.bench.encoder", description=__doc__)
    parser.add_argument("faces", type=Path, help="folder or zip file that the base was trained on")
    parser.add_argument("--base", default="base64")
    parser.add_argument("--photos", type=int, default=32)
    parser.add_argument("--cache", type=Path, help="folder for decoded faces")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    backend, listen = open_backend(EngineConfig(base=chosen.base)), PlainProgress()
    with tempfile.TemporaryDirectory(prefix="everface-encoder-") as scratch:
        side, cache, aside = backend.shape.resolution, chosen.cache or Path(scratch), PretrainConfig.set_aside
        faces = read_faces(chosen.faces, side, cache, HELD_OUT, listen, set_aside=aside)
        photos = faces.batch(judges_of(faces, chosen.photos))
        result = BenchResult("encoder", tuple(encoder_rows(backend, to_images(photos), listen)), machine())
    if chosen.json is not None:
        write_json(result, chosen.json)
    print_rows(result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
