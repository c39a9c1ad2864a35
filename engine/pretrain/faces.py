"""Pictures for training: read once from a folder or a zip file, kept as one array on disk."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from everface.engine.errors import UsageError
from everface.engine.progress import OnProgress, ProgressReporter

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".avif")
_MIN_FACES = 16
_FEWEST_OF_A_JUDGE = 10  # photos of a person who is set aside


@dataclass(frozen=True, eq=False)
class Faces:
    """Square, aligned pictures of one size.

    Attributes:
        pixels: [n, r, r, 3] uint8, mapped from disk.
        names: of the files, in order.
        train, held_out, judges: indices; a person (a folder that holds pictures, or else a file) is in one of them
            only. The judges are those with the most pictures.
    """

    pixels: NDArray[np.uint8]
    names: tuple[str, ...]
    train: NDArray[np.int64]
    held_out: NDArray[np.int64]
    judges: NDArray[np.int64]

    def batch(self, index: NDArray[np.int64]) -> Tensor:
        """The pictures [n, 3, r, r] at the indices, in [-1, 1]."""
        return torch.from_numpy(self.pixels[index]).permute(0, 3, 1, 2).float() / 127.5 - 1

    def draw(self, n: int, rng: np.random.Generator) -> Tensor:
        """Random training pictures [n, 3, r, r] in [-1, 1], half of them mirrored."""
        images = self.batch(rng.choice(self.train, n))
        mirrored = torch.from_numpy(rng.random(n) < 0.5)
        return torch.where(mirrored[:, None, None, None], images.flip(3), images)


@dataclass(frozen=True, eq=False)
class TrainingFaces:
    """One or two collections to train on.

    Attributes:
        first: what the base is to draw; its held-out part is what it is measured on.
        more: the second one, such as sharper pictures; None for none.
        share: part of the pictures that comes from the second one.
    """

    first: Faces
    more: Faces | None = None
    share: float = 0.0

    def draw(self, n: int, rng: np.random.Generator) -> Tensor:
        """Random training pictures [n, 3, r, r] in [-1, 1], half of them mirrored."""
        if self.more is None:
            return self.first.draw(n, rng)
        others = int(rng.binomial(n, self.share))
        # The second collection's last: what looks at a part of a batch takes a moving one.
        return torch.cat([self.first.draw(n - others, rng), self.more.draw(others, rng)])


def read_faces(
    source: Path, resolution: int, cache: Path, held_out: float, on_progress: OnProgress, *, set_aside: int = 0
) -> Faces:
    """Reads all pictures of a folder or zip file at one size.

    Args:
        source: a folder, searched to the bottom, or a ``.zip`` file, of aligned square faces.
        resolution: side in pixels; larger pictures are reduced by area averaging.
        cache: folder for the array; a later run with the same pictures reads it instead.
        held_out: part of the people kept from training, 0 to 0.5.
        on_progress: hears the stage ``"read faces"``.
        set_aside: so many people with the most pictures, at least ten each, are kept from training as judges.

    Raises:
        UsageError: fewer than 16 pictures, or one that is not square or cannot be read.
    """
    names, read = _listing(source)
    if len(names) < _MIN_FACES:
        expected = f"at least {_MIN_FACES} pictures ({', '.join(SUFFIXES)})"
        raise UsageError(str(source), expected=expected, found=str(len(names)), remedy="name a folder of aligned faces")
    key = hashlib.sha256("\n".join([str(source.resolve()), str(resolution), *names]).encode()).hexdigest()[:16]
    path = cache / f"faces-{resolution}-{key}.npy"
    if not path.exists():
        _write(path, names, read, resolution, on_progress)
    judges = _judges(names, set_aside)
    kept = np.array([_share(name) >= held_out for name in names]) & ~judges
    everyone = np.arange(len(names))
    if not kept.any():
        raise UsageError("held_out", expected="someone left to train on", found="nobody", remedy="use a smaller part")
    split = everyone[kept], everyone[~kept & ~judges], everyone[judges]
    return Faces(np.load(path, mmap_mode="r"), tuple(names), *split)


def _listing(source: Path) -> tuple[list[str], Callable[[str], bytes]]:
    if source.is_dir():
        found = sorted(p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        return [p.relative_to(source).as_posix() for p in found], lambda name: (source / name).read_bytes()
    if not zipfile.is_zipfile(source):
        raise UsageError("DIR", expected="a folder or a zip file of pictures", found=str(source), remedy="name one")
    archive = zipfile.ZipFile(source)
    return sorted(n for n in archive.namelist() if n.lower().endswith(SUFFIXES)), archive.read


def _write(path: Path, names: list[str], read: Callable[[str], bytes], side: int, on_progress: OnProgress) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    reporter = ProgressReporter("read faces", len(names), on_progress)
    partial = path.with_suffix(".partial.npy")
    pixels = np.lib.format.open_memmap(partial, "w+", np.uint8, (len(names), side, side, 3))
    for i, name in enumerate(names):
        try:
            with Image.open(io.BytesIO(read(name))) as image:
                if image.width != image.height or image.width < side:
                    expected, found = f"a square of at least {side} pixels", f"{image.width} x {image.height}"
                    raise UsageError(name, expected=expected, found=found, remedy="align the faces first")
                pixels[i] = np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BOX))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(name, expected="a picture", found=str(error), remedy="remove the file") from error
        reporter.advance()
    pixels.flush()
    partial.rename(path)


def _judges(names: list[str], count: int) -> NDArray[np.bool_]:
    """Which pictures are of the people with the most of them; equal numbers in the order of their names."""
    pictures = Counter(_person(name) for name in names)
    most = sorted(pictures.items(), key=lambda one: (-one[1], one[0]))[:count]
    chosen = {person for person, number in most if number >= _FEWEST_OF_A_JUDGE}
    return np.array([_person(name) in chosen for name in names])


def _person(name: str) -> str:
    """The folder where it holds a person's pictures, else the file.

    Folders nearest to the root are collections (``lfw/NAME/1.webp`` is NAME, ``aaf/1.webp`` a person of its own).
    """
    parts = PurePosixPath(name).parts
    return "/".join(parts[:-1]) if len(parts) > 2 else name


def _share(name: str) -> float:
    """A number in [0, 1) of the person."""
    return int.from_bytes(hashlib.sha256(_person(name).encode()).digest()[:8], "big") / 2**64
