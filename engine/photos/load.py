"""Reads a photo file safely: any bytes give either upright RGB pixels or a ``PhotoRejectedError``."""

from __future__ import annotations

import hashlib
import math
import os
import stat
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from everface.engine.errors import PhotoRejectedError, UsageError

# HEIC is listed, so that it is refused with a word instead of passed over.
_JPEG_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"})
_OTHER_SUFFIXES = frozenset({".png", ".apng", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".avif", ".heic", ".heif"})
IMAGE_SUFFIXES = _JPEG_SUFFIXES | _OTHER_SUFFIXES
# Plain raster formats only ("JPEG" brings MPO with it): others run interpreters (EPS), hold no photos, or have decoders
# that are rarely exercised.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
_MAX_FILE_BYTES = 1 << 30
_WORK_PIXELS = 16_000_000  # larger photos are shrunk by an integer on the way in
_STRIP_PIXELS = 4_000_000  # colour conversion goes by strips, so its peak memory does not depend on the photo
_MAX_JPEG_SCANS = 250  # real progressive files have about 10; thousands would decode for hours
_NEUTRAL = (128, 128, 128)
_ORIENTATION_TAG = 0x0112
_HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
_METADATA_ERRORS = (OSError, SyntaxError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError)


@dataclass(frozen=True, eq=False)
class LoadedPhoto:
    """A decoded photo; no metadata of the file (EXIF, GPS) is kept.

    Attributes:
        pixels: uint8 [height, width, 3] RGB, upright.
        sha256: of the file's bytes, in hexadecimal.
        reduction: source pixels per pixel, 1.0 unless the photo was shrunk while it was read.
    """

    pixels: NDArray[np.uint8]
    sha256: str
    reduction: float


def safe_name(path: Path) -> str:
    """The file name of a path as printable text: undecodable bytes and control characters are written as escapes."""
    name = path.name.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)


def find_photos(paths: Sequence[Path]) -> list[Path]:
    """Lists the photo files in files and folders.

    Folders are searched to any depth, without hidden files or folders and without following links to folders, for
    names that end like images. Files named explicitly are kept whatever their name. Each file is listed once.

    Returns:
        Paths in the order of the arguments; within a folder, sorted.

    Raises:
        UsageError: a path does not exist, or a folder cannot be listed.
    """
    files: dict[str, Path] = {}
    for path in map(Path, paths):
        if path.is_dir():
            listed = _walk(path)
        elif path.exists():
            listed = [path]
        else:
            remedy = "check the spelling, or that the link or drive still leads somewhere"
            raise UsageError(f"photos {path}", expected="a file or folder", found="nothing", remedy=remedy)
        for file in listed:
            files.setdefault(os.path.abspath(file), file)
    return list(files.values())


def _walk(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        remedy = "grant permission to read it, or name other folders"
        raise UsageError(
            f"photos {error.filename}", expected="a readable folder", found=str(error.strerror), remedy=remedy
        )

    files = []
    for root, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        visible = (Path(root) / n for n in names if not n.startswith("."))
        files += [file for file in visible if file.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(files)


def load_photo(path: Path, max_megapixels: float) -> LoadedPhoto:
    """Decodes one photo file of any origin.

    Reads JPEG, PNG, WebP, GIF, TIFF, BMP and AVIF; the first frame of animations; gray, palette, CMYK and 16-bit
    pixels. EXIF orientation is applied; transparency is laid on middle gray. Photos of more than 16 megapixels are
    shrunk by an integer.

    Args:
        path: the file.
        max_megapixels: larger photos are refused from their header, before any pixel is decoded.

    Raises:
        PhotoRejectedError: reason ``unreadable``, ``empty`` or ``too-large``.
    """
    name = safe_name(path)
    try:
        # Opening must not wait for the writer of a pipe, and what is judged must be what is read: one descriptor.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise _rejected(
            name, "unreadable", f"it cannot be opened ({why})", "check the file and its permissions"
        ) from error
    try:
        _check_file(name, os.fstat(descriptor))
    except PhotoRejectedError:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as file:
        try:
            sha256 = _hash(name, file)
            pixels, reduction = _decode(name, file, max_megapixels)
        except PhotoRejectedError:
            raise
        except Exception as error:  # decoders raise nearly anything on damaged bytes; MemoryError is among it
            why = f"its image data is damaged or incomplete ({type(error).__name__})"
            raise _rejected(name, "unreadable", why, "copy or export the photo again") from error
    return LoadedPhoto(pixels, sha256, reduction)


def _rejected(name: str, reason: str, detail: str, remedy: str) -> PhotoRejectedError:
    return PhotoRejectedError(name, reason, detail, remedy)


def _check_file(name: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise _rejected(name, "unreadable", f"it is {kind}", "name an image file")
    if status.st_size == 0:
        raise _rejected(name, "empty", "the file has no bytes", "copy the photo again")
    if status.st_size > _MAX_FILE_BYTES:
        raise _rejected(
            name, "too-large", f"the file has {status.st_size / 2**20:.0f} MiB", "export it at a smaller size"
        )


def _hash(name: str, file: BinaryIO) -> str:
    """SHA-256 of the whole file; refuses JPEG files made of so many scans that decoding would not end."""
    digest, scans = hashlib.sha256(), 0
    jpeg = file.read(2) == b"\xff\xd8"
    file.seek(0)
    while block := file.read(1 << 20):
        digest.update(block)
        # Inside coded data 0xFF is always followed by 0x00 or a restart marker, so these bytes start a scan.
        scans += block.count(b"\xff\xda") if jpeg else 0
    file.seek(0)
    if scans > _MAX_JPEG_SCANS:
        raise _rejected(name, "unreadable", f"it is a JPEG of {scans} scans", "save it as an ordinary JPEG")
    return digest.hexdigest()


def _decode(name: str, file: BinaryIO, max_megapixels: float) -> tuple[NDArray[np.uint8], float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's warnings on odd files; what matters is whether pixels come out
        try:
            image = Image.open(file, formats=_FORMATS)
        except Image.DecompressionBombError as error:
            raise _too_large(name, "more pixels than any photo", max_megapixels) from error
        except UnidentifiedImageError as error:
            raise _not_an_image(name, file) from error
        with image:
            width, height = image.size
            if width * height > max_megapixels * 1e6:
                raise _too_large(name, f"{width * height / 1e6:.0f} megapixels", max_megapixels)
            shrink = max(1, math.ceil(math.sqrt(width * height / _WORK_PIXELS)))
            if shrink > 1:
                # JPEG can be decoded at 1/2, 1/4 or 1/8 at a fraction of the cost; for other formats nothing happens.
                image.draft(None, (math.ceil(width / shrink), math.ceil(height / shrink)))
            image.load()
            shrink = max(1, math.ceil(math.sqrt(image.width * image.height / _WORK_PIXELS)))
            orientation = _orientation(image)
            decoded_width = image.width
            pixels = _to_rgb(image, shrink)
    return _upright(pixels, orientation), width / decoded_width * shrink


def _too_large(name: str, size: str, max_megapixels: float) -> PhotoRejectedError:
    remedy = f"export it with at most {max_megapixels:g} megapixels"
    return _rejected(name, "too-large", f"it has {size}", remedy)


def _not_an_image(name: str, file: BinaryIO) -> PhotoRejectedError:
    file.seek(0)
    head = file.read(12)
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS:
        return _rejected(name, "unreadable", "it is a HEIC photo, which is not supported", "export it as JPEG")
    detail = "it is not an image, or its header is damaged"
    return _rejected(name, "unreadable", detail, "use JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1 to 8, or 1 where there is none to read. Ask after loading: TIFF and AVIF are turned there."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except (*_METADATA_ERRORS, struct.error):
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    # What is left after the transposition of 5 to 8: mirror columns, rows, or both.
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    return np.ascontiguousarray(pixels[::rows, ::columns])


def _to_rgb(image: Image.Image, shrink: int) -> NDArray[np.uint8]:
    width, height = image.size
    out = np.empty((math.ceil(height / shrink), math.ceil(width / shrink), 3), np.uint8)
    scale = _sample_scale(image)
    rows = max(1, _STRIP_PIXELS // (width * shrink)) * shrink
    for top in range(0, height, rows):
        strip = _strip_to_rgb(image.crop((0, top, width, min(height, top + rows))), scale)
        done = np.asarray(strip.reduce(shrink) if shrink > 1 else strip)
        out[top // shrink : top // shrink + len(done)] = done
    return out


def _sample_scale(image: Image.Image) -> float:
    """Factor that brings samples of more than 8 bits to 0..255."""
    if image.mode.startswith("I;16"):
        return 1 / 257
    if image.mode not in ("I", "F"):
        return 1.0
    largest = float(np.nanmax(np.asarray(image), initial=0.0))
    if image.mode == "F" and largest <= 1.0:
        return 255.0
    return 1.0 if largest <= 255 else 1 / 257 if largest <= 65535 else 255 / largest


def _strip_to_rgb(strip: Image.Image, scale: float) -> Image.Image:
    if strip.mode in ("I", "F") or strip.mode.startswith("I;16"):
        samples = np.nan_to_num(np.asarray(strip).astype(np.float32) * scale)
        return Image.fromarray(np.rint(np.clip(samples, 0, 255)).astype(np.uint8)).convert("RGB")
    if strip.has_transparency_data:
        strip = strip.convert("RGBA")
        ground = Image.new("RGBA", strip.size, (*_NEUTRAL, 255))
        return Image.alpha_composite(ground, strip).convert("RGB")
    return strip.convert("RGB")
