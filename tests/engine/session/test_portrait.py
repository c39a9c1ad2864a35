"""Reconstruct and enhance one photo, on the tiny base."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everface import Engine
from everface.engine.errors import NothingToDoError, PhotoRejectedError, UsageError
from everface.engine.session import EnhanceOptions


@pytest.fixture
def learned(engine: Engine, batches: list[list[Path]], short_search: None) -> Engine:
    engine.update(batches[0])
    return engine


def test_a_photo_is_reconstructed_layer_by_layer(learned: Engine, batches: list[list[Path]]) -> None:
    done = learned.reconstruct(batches[1][0])
    assert done.image.shape == (16, 16, 3) and done.image.dtype == np.uint8
    assert np.ptp(done.styles, axis=0).max() > 0
    assert -1 <= done.likeness <= 1 and done.moved >= 0 and done.seconds > 0
    assert np.array_equal(learned.reconstruct(batches[1][0]).image, done.image)


def test_enhancing_measures_the_size_and_takes_a_mask(
    learned: Engine, batches: list[list[Path]], tmp_path: Path
) -> None:
    photo = Image.open(batches[1][0])
    mask = Image.new("L", photo.size, 255)
    mask.paste(0, (0, photo.height // 2, photo.width, photo.height))
    mask.save(tmp_path / "mask.png")
    plain = learned.enhance(batches[1][0])
    masked = learned.enhance(batches[1][0], EnhanceOptions(tmp_path / "mask.png", factor=2.0, blur=0.5))
    assert plain.image.shape == masked.image.shape
    assert plain.loss != masked.loss
    assert plain.degradation.mask is None and masked.degradation.mask is not None
    assert (masked.degradation.factor, masked.degradation.blur) == (2.0, 0.5)


def test_the_picture_goes_back_into_the_photo(learned: Engine, batches: list[list[Path]]) -> None:
    done = learned.reconstruct(batches[1][0])
    whole, photo = learned.paste(batches[1][0], done), np.asarray(Image.open(batches[1][0]).convert("RGB"))
    assert whole.shape == photo.shape
    changed = np.abs(whole.astype(int) - photo).max(axis=2) > 8
    x, y = done.quad.centre.astype(int)
    assert changed[y - 20 : y + 20, x - 20 : x + 20].mean() > 0.2  # the tiny base knows no face
    assert not changed[0].any() and not changed[:, 0].any()


def test_wrong_masks_and_photos_are_named(learned: Engine, batches: list[list[Path]], tmp_path: Path) -> None:
    Image.new("L", (50, 200), 255).save(tmp_path / "tall.png")
    with pytest.raises(UsageError, match="--mask"):
        learned.enhance(batches[1][0], EnhanceOptions(tmp_path / "tall.png"))
    with pytest.raises(UsageError, match="--mask"):
        learned.enhance(batches[1][0], EnhanceOptions(tmp_path / "none.png"))
    photo = Image.open(batches[1][0])
    Image.new("L", photo.size, 0).save(tmp_path / "black.png")
    with pytest.raises(UsageError, match="visible"):
        learned.enhance(batches[1][0], EnhanceOptions(tmp_path / "black.png"))
    Image.new("RGB", (200, 200)).save(tmp_path / "empty.png")
    with pytest.raises(PhotoRejectedError):
        learned.reconstruct(tmp_path / "empty.png")
    with pytest.raises(UsageError, match="a file"):
        learned.reconstruct(tmp_path / "none.jpg")


def test_nobody_is_known_before_the_first_update(engine: Engine, batches: list[list[Path]]) -> None:
    calls: list[Callable[[], object]] = [
        lambda: engine.reconstruct(batches[0][0]),
        lambda: engine.enhance(batches[0][0]),
        lambda: engine.edit(batches[0][0], {}),
    ]
    for call in calls:
        with pytest.raises(NothingToDoError):
            call()
