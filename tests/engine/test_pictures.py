"""Pictures on disk: single ones, a grid, a turntable; a name that cannot be written is refused before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everface.engine import pictures
from everface.engine.errors import UsageError


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)


def test_single_pictures_keep_every_pixel(images: np.ndarray, tmp_path: Path) -> None:
    paths = pictures.save_images(images, tmp_path / "a" / "b")
    assert [path.name for path in paths] == ["000.png", "001.png", "002.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(paths[1])), images[1])


def test_a_grid_is_filled_up_with_white(images: np.ndarray, tmp_path: Path) -> None:
    sheet = pictures.grid_of(images, 2)
    assert sheet.shape == (16, 16, 3)
    np.testing.assert_array_equal(sheet[:8, 8:], images[1])
    assert (sheet[8:, 8:] == 255).all()
    assert Image.open(pictures.save_grid(images, tmp_path)).size == (24, 8)


def test_a_turntable_goes_there_and_back(images: np.ndarray, tmp_path: Path) -> None:
    with Image.open(pictures.save_turntable(images, tmp_path / "t.webp")) as moving:
        assert moving.n_frames == 4
    assert Image.open(pictures.save_turntable(images, tmp_path / "t.png")).size == (24, 8)
    assert Image.open(pictures.save_picture(images[0], tmp_path / "new" / "p.jpg")).size == (8, 8)


def test_other_names_are_refused(images: np.ndarray, tmp_path: Path) -> None:
    for name in ("p.txt", "p"):
        with pytest.raises(UsageError, match="--out"):
            pictures.picture_file(tmp_path / name)
        with pytest.raises(UsageError, match="--out"):
            pictures.turntable_file(tmp_path / name)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="another folder"):
        pictures.save_images(images, tmp_path / "file")


def test_bytes_become_numbers_and_return() -> None:
    every = np.arange(256, dtype=np.uint8)
    floats = pictures.to_floats(every)
    assert floats.dtype == np.dtype(np.float32)
    assert (floats[0], floats[255]) == (-1, 1)
    np.testing.assert_array_equal(pictures.to_uint8(floats), every)
    np.testing.assert_array_equal(pictures.to_floats(floats), floats)
