"""One photo that is looked at rather than learned: whatever shows a face will do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from everface.engine.config import PhotoConfig
from everface.engine.errors import PhotoRejectedError, UsageError
from everface.engine.photos.align import align_face
from everface.engine.photos.load import load_photo, safe_name
from everface.engine.photos.models import FaceModels
from everface.engine.photos.prepare import AlignedPhoto, OwnerSimilarity, prepare_photos
from everface.engine.photos.quality import luma


def align_single(
    path: Path, resolution: int, config: PhotoConfig, *, models: FaceModels, owner: OwnerSimilarity | None = None
) -> AlignedPhoto:
    """Aligns one photo without asking for size, sharpness or pose.

    Args:
        path: the file.
        resolution: side of the aligned picture.
        config: crop.
        models: the face networks.
        owner: decides where it shows several faces.

    Raises:
        UsageError: there is no such file.
        PhotoRejectedError: it cannot be read, or no single face was found.
    """
    if not path.is_file():
        raise UsageError(f"photo {path}", expected="a file", found="none", remedy="check the path")
    lenient = replace(config, min_face_pixels=0.0, max_yaw=90.0, max_pitch=90.0, min_sharpness=0.0)
    batch = prepare_photos([path], resolution, lenient, models=models, owner=owner)
    if batch.rejected:
        reason = batch.rejected[0]
        raise PhotoRejectedError(safe_name(path), reason.reason, reason.detail)
    return batch.accepted[0]


def align_mask(path: Path, photo_path: Path, photo: AlignedPhoto, config: PhotoConfig) -> NDArray[np.float32]:
    """Brings a mask, painted on the photo, to the aligned picture.

    Args:
        path: picture of the photo's shape; white is kept, black is to be filled in.
        photo_path: the photo that it belongs to.
        photo: the same, aligned.
        config: limits of loading.

    Returns:
        [r, r] in [0, 1]; mirrored outside the photo, as the photo is.

    Raises:
        UsageError: it has another shape than the photo, or there is no such file.
        PhotoRejectedError: it cannot be read.
    """
    if not path.is_file():
        raise UsageError("--mask", expected="a picture", found=f"no file {path}", remedy="check the path")
    mask, pixels = (load_photo(file, config.max_megapixels).pixels for file in (path, photo_path))
    if abs(mask.shape[0] * pixels.shape[1] - mask.shape[1] * pixels.shape[0]) > 0.02 * pixels.shape[0] * mask.shape[1]:
        expected = f"the photo's shape, {pixels.shape[1]} x {pixels.shape[0]} pixels"
        raise UsageError("--mask", expected=expected, found=f"{mask.shape[1]} x {mask.shape[0]}")
    height, width = pixels.shape[:2]
    scaled = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.BILINEAR))
    return np.asarray(luma(align_face(scaled, photo.quad, photo.image.shape[0])) / 255, np.float32).clip(0, 1)
