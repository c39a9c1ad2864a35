"""The people of the experiment: their aligned photos, from an archive, folders or the embedded album, cached."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from everface.bench.demo_album import unpack_demo_album
from everface.engine.config import PhotoConfig
from everface.engine.errors import NothingToDoError, UsageError
from everface.engine.photos import FaceModels, find_photos, prepare_photos
from everface.engine.progress import OnProgress, ignore_progress

DEMO_PERSON = "synthetic"
"""The embedded album, which is always there."""


@dataclass(frozen=True, eq=False)
class Person:
    """One person's aligned photos.

    Attributes:
        name: of the folder.
        images: uint8 [n, R, R, 3].
        pose: [n, 2] yaw and pitch in degrees.
        cameras: [n, 25] from where each is seen.
    """

    name: str
    images: NDArray[np.uint8]
    pose: NDArray[np.float64]
    cameras: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.images)


def names_in(source: Path | None) -> tuple[str, ...]:
    """The people there, those with the most photos first.

    Args:
        source: a zip of folders, a folder of folders, or None for the embedded album alone.

    Raises:
        UsageError: no such file, or no folders in it.
    """
    if source is None:
        return (DEMO_PERSON,)
    if not source.exists():
        remedy = "name a zip of folders or a folder of folders, one a person"
        raise UsageError("albums", expected=str(source), found="nothing there", remedy=remedy)
    folders = [entry for entry in _root(source).iterdir() if entry.is_dir()]
    counts = {folder.name: sum(1 for _ in folder.iterdir()) for folder in folders}
    if not counts:
        raise UsageError("albums", expected="folders of photos, one a person", found="none", remedy="make one a person")
    return tuple(sorted(counts, key=lambda person: (-counts[person], person)))


def _root(source: Path) -> Path | zipfile.Path:
    """A folder or a zip file, to be looked through alike."""
    return source if source.is_dir() else zipfile.Path(source)


def aligned(
    source: Path | None, name: str, config: PhotoConfig, resolution: int, cache: Path,
    on_progress: OnProgress = ignore_progress,
) -> Person:  # fmt: skip
    """A person's photos through the engine's photo room; kept in the cache for the next call.

    Args:
        source: as ``names_in``.
        name: of the person.
        config: how photos are taken.
        resolution: side of the aligned pictures.
        cache: a folder, made where it is missing.
        on_progress: hears the stage ``"photos"``.

    Raises:
        NothingToDoError: no usable photo.
    """
    key = hashlib.sha256(f"{source} {resolution} {config}".encode()).hexdigest()[:12]
    kept = cache / f"aligned-{name}-{key}.npz"
    if not kept.is_file():
        with photos_of(source, name) as paths:
            photos = prepare_photos(paths, resolution, config, models=FaceModels.load(), on_progress=on_progress)
        if not photos.accepted:
            raise NothingToDoError(
                name, expected="at least one usable photo", found="none", remedy="add clearer photos"
            )
        cache.mkdir(parents=True, exist_ok=True)
        save_arrays(
            kept, images=np.stack([photo.image for photo in photos.accepted]),
            pose=np.array([(photo.yaw, photo.pitch) for photo in photos.accepted]),
            cameras=np.stack([photo.camera for photo in photos.accepted]),
        )  # fmt: skip
    with np.load(kept) as arrays:
        return Person(name, arrays["images"], arrays["pose"], arrays["cameras"])


def save_arrays(path: Path, **arrays: NDArray[np.generic]) -> None:
    """Writes an npz under its name only when it is whole, so that an interrupted run leaves no half of one."""
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as held:
        np.savez(held, **arrays)  # type: ignore[arg-type]
    Path(held.name).replace(path)


@contextmanager
def photos_of(source: Path | None, name: str) -> Iterator[Sequence[Path]]:
    """A person's files while the block lasts. Arguments as ``aligned``."""
    if source is not None and source.is_dir():
        yield find_photos([source / name])
        return
    with tempfile.TemporaryDirectory(prefix="everface-replay-") as scratch:
        folder = Path(scratch)
        if source is None:
            yield [path for _, train, held in unpack_demo_album(folder) for path in (*train, *held)]
            return
        for file in (_root(source) / name).iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        yield find_photos([folder])
