"""The embedded album of a synthetic person, taken through the engine's photo room."""

from __future__ import annotations

import json
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from everface.bench.sequence import Batch
from everface.engine.assets import asset_path
from everface.engine.config import PhotoConfig
from everface.engine.errors import NothingToDoError
from everface.engine.photos import AlignedPhoto, FaceModels, Rejection, prepare_photos
from everface.engine.progress import OnProgress, ignore_progress

INDEX = "album.json"


@dataclass(frozen=True, eq=False)
class PreparedAlbum:
    """The album's batches, and what the photo room refused of each."""

    batches: tuple[Batch, ...]
    rejected: tuple[tuple[Rejection, ...], ...]


def unpack_demo_album(folder: Path) -> tuple[tuple[str, tuple[Path, ...], tuple[Path, ...]], ...]:
    """Writes the album's photos into a folder; returns (title, photos to learn, photos held out) of each batch."""
    with zipfile.ZipFile(asset_path("demo_album.zip")) as archive:
        archive.extractall(folder)
        index = json.loads(archive.read(INDEX))
    return tuple(
        (one["title"], tuple(folder / name for name in one["train"]), tuple(folder / name for name in one["held_out"]))
        for one in index["batches"]
    )


def prepare_demo_album(
    resolution: int, config: PhotoConfig, faces: FaceModels, on_progress: OnProgress = ignore_progress
) -> PreparedAlbum:
    """Unpacks, aligns and judges all photos, as an update would.

    Args:
        resolution: side of the aligned pictures.
        config: how photos are taken.
        faces: the face networks.
        on_progress: hears the stage ``"photos"``.

    Raises:
        NothingToDoError: a batch has no usable photo.
    """
    with tempfile.TemporaryDirectory(prefix="everface-demo-") as scratch:
        album = unpack_demo_album(Path(scratch))
        paths = [path for _, train, held_out in album for path in (*train, *held_out)]
        prepared = prepare_photos(paths, resolution, config, models=faces, on_progress=on_progress)
    photos = {photo.name: photo for photo in prepared.accepted}
    batches, rejected = [], []
    for title, train, held_out in album:
        batches.append(Batch(title, _images(title, photos, train), _images(title, photos, held_out)))
        names = {path.name for path in (*train, *held_out)}
        rejected.append(tuple(one for one in prepared.rejected if one.name in names))
    return PreparedAlbum(tuple(batches), tuple(rejected))


def _images(title: str, photos: dict[str, AlignedPhoto], paths: tuple[Path, ...]) -> NDArray[np.uint8]:
    images = [photos[path.name].image for path in paths if path.name in photos]
    if not images:
        raise NothingToDoError(f"demo album, {title}", expected="usable photos", found="none", remedy="install again")
    return np.stack(images)
