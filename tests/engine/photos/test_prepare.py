from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from everface.engine.config import PhotoConfig
from everface.engine.errors import UsageError
from everface.engine.photos import FaceModels, PreparedBatch, find_photos, prepare_photos
from everface.engine.progress import Progress

from .conftest import SHARED

CONFIG = PhotoConfig()


def saved(folder: Path, name: str, image: Image.Image | NDArray[np.uint8], quality: int = 90) -> Path:
    path = folder / name
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, quality=quality)
    return path


def reasons(batch: PreparedBatch) -> dict[str, str]:
    return {rejection.name: rejection.reason for rejection in batch.rejected}


@pytest.fixture(scope="module")
def other(face_b: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(face_b).convert("RGB"))


@pytest.mark.parametrize("resolution", [64, 256])
def test_accepted_photo(models: FaceModels, face_a: Path, pixels: NDArray[np.uint8], resolution: int) -> None:
    batch = prepare_photos([face_a], resolution, CONFIG, models=models)
    assert batch.rejected == ()
    (photo,) = batch.accepted
    assert photo.name == "synthetic_face_a.jpg"
    assert photo.sha256 == hashlib.sha256(face_a.read_bytes()).hexdigest()
    assert photo.image.shape == (resolution, resolution, 3) and photo.image.dtype == np.uint8
    assert photo.face_pixels == pytest.approx(192, rel=0.05)
    assert abs(photo.yaw) < 15 and abs(photo.pitch) < 10
    assert 0.6 < photo.sharpness < 0.8
    # The crop is the square that the face was laid on.
    laid = Image.fromarray(pixels[56:248, 64:256]).resize((resolution, resolution), Image.Resampling.LANCZOS)
    inner = slice(resolution // 4, 3 * resolution // 4)
    difference = np.abs(photo.image.astype(float) - np.asarray(laid).astype(float))[inner, inner]
    assert difference.mean() < 14


def test_every_photo_has_one_outcome_in_order(
    models: FaceModels, tmp_path: Path, face_a: Path, pixels: NDArray[np.uint8]
) -> None:
    image = Image.fromarray(pixels)
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "cut.jpg").write_bytes(face_a.read_bytes()[:3000])
    os.mkfifo(tmp_path / "pipe.jpg")
    paths = [
        saved(tmp_path, "noise.png", noise),
        saved(tmp_path, "tiny.png", image.resize((64, 64))),
        saved(tmp_path, "soft.jpg", image.filter(ImageFilter.GaussianBlur(7))),
        tmp_path / "empty.jpg",
        face_a,
        tmp_path / "cut.jpg",
        tmp_path / "pipe.jpg",
        tmp_path / "missing.jpg",
        tmp_path,
        saved(tmp_path, "half.jpg", image.crop((0, 0, 170, 320))),
        saved(tmp_path, "again.jpg", image, quality=60),
        saved(tmp_path, "pair.jpg", np.concatenate((pixels, pixels[:, ::-1]), axis=1)),
    ]
    heard: list[Progress] = []
    batch = prepare_photos(paths, 64, CONFIG, models=models, on_progress=heard.append)
    assert [photo.name for photo in batch.accepted] == [face_a.name]
    expected = {
        "noise.png": "no-face",
        "tiny.png": "face-too-small",
        "soft.jpg": "blurred",
        "empty.jpg": "empty",
        "cut.jpg": "unreadable",
        "pipe.jpg": "unreadable",
        "missing.jpg": "unreadable",
        tmp_path.name: "unreadable",
        "half.jpg": "cut-off",
        "again.jpg": "duplicate",
        "pair.jpg": "several-faces",
    }
    assert list(reasons(batch).items()) == list(expected.items())
    assert [(p.stage, p.done, p.total) for p in heard] == [("photos", i + 1, 12) for i in range(12)]
    for rejection in batch.rejected:
        assert rejection.detail[0].isupper() and rejection.detail.endswith(".") and ";" in rejection.detail
        assert str(tmp_path) not in rejection.detail


def test_turned_heads(models: FaceModels, face_a: Path) -> None:
    yaw = abs(prepare_photos([face_a], 64, CONFIG, models=models).accepted[0].yaw)
    strict = dataclasses.replace(CONFIG, max_yaw=yaw - 0.5)
    assert reasons(prepare_photos([face_a], 64, strict, models=models)) == {face_a.name: "turned"}


def test_duplicates(models: FaceModels, tmp_path: Path, face_a: Path, face_b: Path, pixels: NDArray[np.uint8]) -> None:
    image = Image.fromarray(pixels)
    copies = [
        saved(tmp_path, "encoded.jpg", image, quality=50),
        saved(tmp_path, "smaller.png", image.resize((200, 200), Image.Resampling.LANCZOS)),
        saved(tmp_path, "larger.png", image.resize((700, 700), Image.Resampling.BICUBIC)),
        saved(tmp_path, "cropped.png", image.crop((25, 20, 310, 300))),
        saved(tmp_path, "brighter.png", ImageEnhance.Brightness(image).enhance(1.15)),
    ]
    (tmp_path / "copy.jpg").write_bytes(face_a.read_bytes())
    batch = prepare_photos([face_a, *copies, tmp_path / "copy.jpg", face_b], 64, CONFIG, models=models)
    assert [photo.name for photo in batch.accepted] == [face_a.name, face_b.name]
    assert set(reasons(batch).values()) == {"duplicate"} and len(batch.rejected) == 6
    assert all(face_a.name in rejection.detail for rejection in batch.rejected)

    learned = batch.accepted[0]
    for seen in ((learned.sha256, 0), ("other bytes", learned.dhash)):
        again = prepare_photos([face_a], 64, CONFIG, models=models, seen=[seen])
        assert reasons(again) == {face_a.name: "duplicate"}
        assert "learned before" in again.rejected[0].detail


def test_owner_is_chosen_among_several(
    models: FaceModels, tmp_path: Path, pixels: NDArray[np.uint8], other: NDArray[np.uint8]
) -> None:
    pair = saved(tmp_path, "pair.png", np.concatenate((pixels, other), axis=1))
    alone = [saved(tmp_path, "a.png", pixels), saved(tmp_path, "b.png", other)]
    wanted = [photo.image.astype(float) for photo in prepare_photos(alone, 64, CONFIG, models=models).accepted]
    assert len(wanted) == 2
    asked: list[tuple[int, ...]] = []
    for person in (0, 1):

        def owner(images: NDArray[np.uint8], person: int = person) -> NDArray[np.float64]:
            asked.append(images.shape)
            return -np.abs(images.astype(float) - wanted[person]).mean(axis=(1, 2, 3))

        (photo,) = prepare_photos([pair], 64, CONFIG, models=models, owner=owner).accepted
        errors = [float(np.abs(photo.image - image).mean()) for image in wanted]
        assert int(np.argmin(errors)) == person
    assert asked == [(2, 64, 64, 3)] * 2
    with pytest.raises(UsageError, match="owner: expected 2 similarities, found 1"):
        prepare_photos([pair], 64, CONFIG, models=models, owner=lambda images: np.zeros(1))


def test_dominant_face_needs_no_owner(
    models: FaceModels, tmp_path: Path, pixels: NDArray[np.uint8], other: NDArray[np.uint8]
) -> None:
    small = np.asarray(Image.fromarray(other).resize((180, 180), Image.Resampling.LANCZOS))
    canvas = np.full((320, 520, 3), 120, np.uint8)
    canvas[:, :320], canvas[:180, 330:510] = pixels, small
    (photo,) = prepare_photos([saved(tmp_path, "two.png", canvas)], 64, CONFIG, models=models).accepted
    assert photo.face_pixels == pytest.approx(192, rel=0.06)


def test_crop_scale(models: FaceModels, face_a: Path) -> None:
    wide = dataclasses.replace(CONFIG, crop_scale=1.0)
    tight, loose = (prepare_photos([face_a], 64, c, models=models).accepted[0] for c in (CONFIG, wide))
    assert loose.face_pixels == pytest.approx(tight.face_pixels / 0.8)


@pytest.mark.parametrize("resolution", [0, 15, 4096])
def test_senseless_resolution(models: FaceModels, resolution: int) -> None:
    with pytest.raises(UsageError, match="resolution"):
        prepare_photos([], resolution, CONFIG, models=models)


def test_same_input_same_output(models: FaceModels, face_a: Path) -> None:
    first, second = (prepare_photos([face_a], 64, CONFIG, models=models).accepted[0] for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)
    assert (first.dhash, first.yaw, first.pitch, first.sharpness) == (
        second.dhash,
        second.yaw,
        second.pitch,
        second.sharpness,
    )


@pytest.mark.parametrize(
    ("name", "value"), [("crop_scale", 3.0), ("max_yaw", 0.0), ("min_sharpness", 1.0), ("max_megapixels", 1000.0)]
)
def test_settings_are_checked(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=name):
        dataclasses.replace(CONFIG, **{name: value})


def test_import_is_light() -> None:
    code = "import sys, everface.engine.photos; sys.exit('onnxruntime' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("count", [5, pytest.param(24, marks=pytest.mark.slow)])
def test_real_albums_pass(models: FaceModels, albums: Path, count: int) -> None:
    taken, images = {}, []
    for folder in sorted(albums.iterdir()):
        paths = find_photos([folder])[:count]
        batch = prepare_photos(paths, 64, CONFIG, models=models)
        assert {r.reason for r in batch.rejected} <= {"several-faces", "duplicate"}
        taken[folder.name] = len(batch.accepted) / len(paths)
        images += [photo.image for photo in batch.accepted]
    assert len(taken) == 7
    assert min(taken.values()) >= 0.6 and np.mean(list(taken.values())) >= 0.9
    # Framed like the pictures that the embedded base learned from: the mean faces agree.
    ours = np.mean(images, axis=(0, 3))
    with zipfile.ZipFile(SHARED / "faces128.zip") as files:
        names = sorted(name for name in files.namelist() if name.startswith("lfw/") and name.endswith(".webp"))[::40]
        theirs = [Image.open(io.BytesIO(files.read(n))).convert("L").resize((64, 64)) for n in names]
    mean = np.mean([np.asarray(image) for image in theirs], axis=0)
    face = np.s_[14:54, 14:50]
    best = max(
        (np.corrcoef(np.roll(ours, (dy, dx), (0, 1))[face].ravel(), mean[face].ravel())[0, 1], dy, dx)
        for dy in range(-3, 4)
        for dx in range(-3, 4)
    )
    assert best[0] > 0.9 and abs(best[1]) <= 1 and abs(best[2]) <= 1


@pytest.mark.parametrize("kind", ["blurred", "face-too-small"])
def test_real_photos_made_worse_are_rejected(models: FaceModels, albums: Path, tmp_path: Path, kind: str) -> None:
    paths = []
    for path in find_photos([albums])[::17]:
        image = Image.open(path).convert("RGB")
        worse = image.filter(ImageFilter.GaussianBlur(5)) if kind == "blurred" else image.resize((60, 60))
        paths.append(saved(tmp_path, path.stem + ".png", worse))
    batch = prepare_photos(paths, 64, CONFIG, models=models)
    assert batch.accepted == ()
    assert set(reasons(batch).values()) <= {kind, "no-face", "several-faces"}
    assert list(reasons(batch).values()).count(kind) >= len(paths) // 2
