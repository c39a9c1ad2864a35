"""Pictures as bytes and as numbers, and written to disk."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from everface.engine.errors import UsageError

_FRAME_MS = 60
_MOVING = (".webp", ".gif")
_STRIP = (".png", ".jpg", ".jpeg")


def to_uint8(pictures: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Pictures about [-1, 1] as bytes 0 to 255, rounded to nearest."""
    return np.asarray((np.clip(pictures, -1, 1) + 1) * np.float32(127.5) + np.float32(0.5), np.uint8)


def to_floats(pictures: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
    """Bytes 0 to 255 as float32 in [-1, 1]; floats keep their values."""
    floats = pictures.astype(np.float32)
    return floats / np.float32(127.5) - np.float32(1) if pictures.dtype == np.uint8 else floats


def save_images(images: NDArray[np.uint8], folder: Path) -> list[Path]:
    """Writes uint8 [n, h, w, 3] as 000.png, 001.png, ... into a folder, which is made where it is missing."""
    _make(folder)
    width = max(3, len(str(len(images) - 1)))
    paths = [folder / f"{i:0{width}d}.png" for i in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        Image.fromarray(image).save(path)
    return paths


def picture_file(path: Path) -> Path:
    """The path, if it can name a picture; asked before the work that makes it.

    Raises:
        UsageError: a name that is no picture's, or of a folder.
    """
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp", ".avif") or path.is_dir():
        expected = "a file that ends in .png, .jpg, .webp or .avif"
        raise UsageError("--out", expected=expected, found=str(path), remedy="name such a file")
    return path


def save_picture(image: NDArray[np.uint8], path: Path) -> Path:
    """Writes uint8 [h, w, 3] in the format that the name asks for. Errors as ``picture_file``."""
    _make(picture_file(path).parent)
    Image.fromarray(image).save(path, quality=95)
    return path


def turntable_file(path: Path) -> Path:
    """The path, if it can name a turntable or a surface.

    Raises:
        UsageError: another kind of file, or a folder.
    """
    if path.suffix.lower() not in (*_MOVING, *_STRIP, ".ply") or path.is_dir():
        expected = "a file that ends in .webp, .gif, .png, .jpg or .ply"
        raise UsageError("--out", expected=expected, found=str(path), remedy="name such a file")
    return path


def save_turntable(images: NDArray[np.uint8], path: Path) -> Path:
    """Writes uint8 [n, h, w, 3], there and back in a loop where the format moves, side by side where it does not."""
    _make(turntable_file(path).parent)
    if path.suffix.lower() in _STRIP:
        Image.fromarray(grid_of(images, len(images))).save(path, quality=95)
        return path
    first, *rest = (Image.fromarray(image) for image in (*images, *images[-2:0:-1]))
    # GIF knows no quality, and ignores it.
    first.save(path, save_all=True, append_images=rest, duration=_FRAME_MS, loop=0, quality=90)
    return path


def save_grid(images: NDArray[np.uint8], folder: Path) -> Path:
    """Writes all images as one picture, grid.png, into a folder."""
    _make(folder)
    path = folder / "grid.png"
    Image.fromarray(grid_of(images)).save(path)
    return path


def grid_of(images: NDArray[np.uint8], columns: int | None = None) -> NDArray[np.uint8]:
    """Lays uint8 [n, h, w, 3] out in rows, about as wide as twice the height; the rest is white."""
    n, h, w, _ = images.shape
    columns = columns or max(1, min(n, math.ceil(math.sqrt(2 * n))))
    rows = max(1, math.ceil(n / columns))
    sheet = np.full((rows * columns, h, w, 3), 255, np.uint8)
    sheet[:n] = images
    return sheet.reshape(rows, columns, h, w, 3).transpose(0, 2, 1, 3, 4).reshape(rows * h, columns * w, 3)


def _make(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError("--out", expected="a folder", found=f"the file {folder}", remedy="name another folder")
    folder.mkdir(parents=True, exist_ok=True)
