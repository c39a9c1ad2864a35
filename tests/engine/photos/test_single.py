"""One photo, aligned whatever its size or pose, and a mask painted on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everface.engine.config import PhotoConfig
from everface.engine.errors import PhotoRejectedError, UsageError
from everface.engine.photos import FaceModels
from everface.engine.photos.single import align_mask, align_single


def test_a_photo_too_small_to_learn_from_is_aligned(face_a: Path, models: FaceModels, tmp_path: Path) -> None:
    small = tmp_path / "small.png"
    Image.open(face_a).resize((160, 160)).save(small)
    photo = align_single(small, 32, PhotoConfig(min_face_pixels=150), models=models)
    assert photo.image.shape == (32, 32, 3)
    with pytest.raises(UsageError, match="a file"):
        align_single(tmp_path / "none.jpg", 32, PhotoConfig(), models=models)
    Image.new("RGB", (200, 200)).save(small)
    with pytest.raises(PhotoRejectedError, match="No face"):
        align_single(small, 32, PhotoConfig(), models=models)


def test_a_mask_follows_its_photo(face_a: Path, models: FaceModels, tmp_path: Path) -> None:
    photo = align_single(face_a, 64, PhotoConfig(), models=models)
    width, height = Image.open(face_a).size
    kept = np.full((height // 2, width // 2), 255, np.uint8)
    kept[height // 4 :] = 0  # painted at half size: the lower half is covered
    Image.fromarray(kept).save(tmp_path / "mask.png")
    mask = align_mask(tmp_path / "mask.png", face_a, photo, PhotoConfig())
    assert mask.shape == (64, 64)
    assert mask[:24].min() > 0.99
    assert mask[-24:].max() < 0.01
    with pytest.raises(UsageError, match="no file"):
        align_mask(tmp_path / "none.png", face_a, photo, PhotoConfig())
    Image.new("L", (width, height // 3)).save(tmp_path / "mask.png")
    with pytest.raises(UsageError, match="shape"):
        align_mask(tmp_path / "mask.png", face_a, photo, PhotoConfig())
