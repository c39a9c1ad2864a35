"""Cameras of a collection of aligned faces whose yaw and pitch are known."""

from __future__ import annotations

import csv
import io
import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError
from everface.engine.photos.camera import FOCAL, LABEL_DIM, camera_from_landmarks, face_in_world, orbit

_TABLE = "meta.csv"


def read_cameras(source: Path, names: tuple[str, ...]) -> tuple[NDArray[np.float32], float]:
    """Camera labels [n, 25] of the named pictures, and the median pitch in degrees.

    Both come from ``meta.csv`` in the folder or zip file (``file,yaw,pitch``, degrees). A camera is that of the aligned
    crop of the mean face seen from there, so the framing is that of
    ``everface.engine.photos.camera.camera_from_landmarks``.

    Raises:
        UsageError: no such table, or pictures that it lacks.
    """
    angles = {row["file"]: (row["yaw"], row["pitch"]) for row in _rows(source)}
    missing = [name for name in names if name not in angles]
    if missing:
        raise UsageError(f"{source}: {_TABLE}", expected=f"{len(names)} pictures", found=f"none named {missing[0]}")
    try:
        rounded = np.round([[float(text) for text in angles[name]] for name in names])
    except ValueError as error:
        raise UsageError(f"{source}: {_TABLE}", expected="yaw and pitch in degrees", found=str(error)) from error
    # Whole degrees: the table itself is not better than two.
    views, which = np.unique(rounded, axis=0, return_inverse=True)
    labels = np.stack([aligned_camera(float(yaw), float(pitch)) for yaw, pitch in views])
    return labels[which.reshape(-1)].astype(np.float32), float(np.median(rounded[:, 1]))


@lru_cache(maxsize=8192)
def aligned_camera(yaw: float, pitch: float) -> NDArray[np.float64]:
    """The camera [25] of the aligned crop of the mean face, seen at these angles in degrees; not to be changed."""
    return camera_from_landmarks(seen_landmarks(yaw, pitch))


def seen_landmarks(yaw: float, pitch: float) -> NDArray[np.float64]:
    """The mean face's landmarks [468, 2] in a picture of side 1 (x right, y down), seen at these angles in degrees."""
    label = orbit(yaw, pitch)[0]
    if label.shape != (LABEL_DIM,):
        raise UsageError("camera", expected=f"[{LABEL_DIM}]", found=str(label.shape))
    pose = label[:16].reshape(4, 4)
    seen = (face_in_world() - pose[:3, 3]) @ pose[:3, :3]
    return np.asarray(FOCAL * seen[:, :2] / seen[:, 2:] + 0.5)


def _rows(source: Path) -> list[dict[str, str]]:
    remedy = "add a table of the columns file,yaw,pitch"
    try:
        if source.is_dir():
            text = (source / _TABLE).read_text()
        else:
            with zipfile.ZipFile(source) as archive:
                text = archive.read(_TABLE).decode()
    except (OSError, KeyError, UnicodeDecodeError, zipfile.BadZipFile) as error:
        raise UsageError(
            str(source), expected=f"a {_TABLE} beside the pictures", found=str(error), remedy=remedy
        ) from error
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows or not {"file", "yaw", "pitch"} <= rows[0].keys():
        raise UsageError(f"{source}: {_TABLE}", expected="columns file,yaw,pitch", found=text[:40], remedy=remedy)
    return rows
