from __future__ import annotations

import hashlib
import io
import os
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from everface.engine.errors import PhotoRejectedError, UsageError
from everface.engine.photos.load import find_photos, load_photo, safe_name


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def written(folder: Path, data: bytes, name: str = "photo.bin") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def reason_of(path: Path, max_megapixels: float = 100.0) -> tuple[str, str]:
    with pytest.raises(PhotoRejectedError) as caught:
        load_photo(path, max_megapixels)
    return caught.value.reason, str(caught.value)


@pytest.fixture
def quarters() -> Image.Image:
    """60 x 40: red, green, blue, white in reading order; no two orientations look alike."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[:20, :30], image[:20, 30:], image[20:, :30], image[20:, 30:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), 255
    return Image.fromarray(image)


def corners(pixels: NDArray[np.uint8]) -> str:
    """Colours of the four corners in reading order."""
    names = {(1, 0, 0): "R", (0, 1, 0): "G", (0, 0, 1): "B", (1, 1, 1): "W"}
    spots = (pixels[5, 5], pixels[5, -5], pixels[-5, 5], pixels[-5, -5])
    return "".join(names[tuple(int(v > 127) for v in spot)] for spot in spots)


def test_pixels_and_hash_are_those_of_the_file(tmp_path: Path, quarters: Image.Image) -> None:
    data = encoded(quarters, "PNG")
    loaded = load_photo(written(tmp_path, data), 100)
    np.testing.assert_array_equal(loaded.pixels, np.asarray(quarters))
    assert loaded.sha256 == hashlib.sha256(data).hexdigest()
    assert loaded.reduction == 1.0


ORIENTED = {1: "RGBW", 2: "GRWB", 3: "WBGR", 4: "BWRG", 5: "RBGW", 6: "BRWG", 7: "WGBR", 8: "GWRB"}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize(("orientation", "expected"), ORIENTED.items())
def test_exif_orientation(tmp_path: Path, quarters: Image.Image, kind: str, orientation: int, expected: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    loaded = load_photo(written(tmp_path, encoded(quarters, kind, exif=exif, **options)), 100)
    assert corners(loaded.pixels) == expected
    assert loaded.pixels.shape == ((40, 60, 3) if orientation < 5 else (60, 40, 3))


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_senseless_orientation_is_ignored(tmp_path: Path, quarters: Image.Image, value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert corners(load_photo(written(tmp_path, encoded(quarters, "JPEG", exif=exif)), 100).pixels) == "RGBW"


def test_damaged_exif_does_not_cost_the_photo(tmp_path: Path, quarters: Image.Image) -> None:
    data = encoded(quarters, "JPEG")
    segment = b"Exif\x00\x00II*\x00\xff\xff\xff\x7f" + b"\xff" * 40
    damaged = data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
    assert corners(load_photo(written(tmp_path, damaged), 100).pixels) == "RGBW"


def test_no_metadata_leaves_the_loader(tmp_path: Path, quarters: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    exif.get_ifd(0x8825)[29] = "2001:02:03"
    loaded = load_photo(written(tmp_path, encoded(quarters, "JPEG", exif=exif)), 100)
    assert set(vars(loaded)) == {"pixels", "sha256", "reduction"}
    assert type(loaded.pixels) is np.ndarray


def gray16(quarters: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(quarters.convert("L")).astype(np.uint16) * 257)


VARIANTS: dict[str, tuple[Callable[[Image.Image], Image.Image], str, dict[str, object]]] = {
    "gray": (lambda i: i.convert("L"), "JPEG", {}),
    "cmyk": (lambda i: i.convert("CMYK"), "JPEG", {}),
    "cmyk-tiff": (lambda i: i.convert("CMYK"), "TIFF", {}),
    "bilevel": (lambda i: i.convert("L").point(lambda v: 255 * (v > 127)).convert("1"), "PNG", {}),
    "gray-alpha": (lambda i: i.convert("LA"), "PNG", {}),
    "gray-16": (gray16, "PNG", {}),
    "gray-16-tiff": (gray16, "TIFF", {}),
    "integer-32": (lambda i: Image.fromarray(np.asarray(gray16(i)).astype(np.int32)), "TIFF", {}),
    "float": (lambda i: Image.fromarray(np.asarray(i.convert("L")).astype(np.float32) / 255), "TIFF", {}),
    "palette": (lambda i: i.convert("P"), "PNG", {}),
    "progressive": (lambda i: i, "JPEG", {"progressive": True}),
    "mpo": (lambda i: i, "MPO", {"save_all": True, "append_images": [Image.new("RGB", (60, 40))]}),
    "bmp": (lambda i: i, "BMP", {}),
    "lzw": (lambda i: i, "TIFF", {"compression": "tiff_lzw"}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_kinds_of_pixels(tmp_path: Path, quarters: Image.Image, variant: str) -> None:
    convert, kind, options = VARIANTS[variant]
    loaded = load_photo(written(tmp_path, encoded(convert(quarters), kind, **options)), 100)
    assert loaded.pixels.shape == (40, 60, 3) and loaded.pixels.dtype == np.uint8
    gray = np.asarray(quarters.convert("L")).astype(float)
    if variant == "bilevel":
        gray = 255.0 * (gray > 127)
    got = np.asarray(Image.fromarray(loaded.pixels).convert("L")).astype(float)
    assert np.median(np.abs(got - gray)) <= 3


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparency_lies_on_middle_gray(tmp_path: Path, kind: str) -> None:
    image = np.full((8, 8, 4), 255, np.uint8)
    image[:, :4, 3] = 0
    options = {"lossless": True} if kind == "WEBP" else {}
    loaded = load_photo(written(tmp_path, encoded(Image.fromarray(image), kind, **options)), 100)
    np.testing.assert_array_equal(loaded.pixels[:, :4], 128)
    np.testing.assert_array_equal(loaded.pixels[:, 4:], 255)


def test_palette_and_rgb_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 3)
    image.putpalette([value for i in range(256) for value in (i * 10 % 256, 0, 0)])
    assert (load_photo(written(tmp_path, encoded(image, "PNG", transparency=3)), 100).pixels == 128).all()
    plain = Image.new("RGB", (8, 8), (9, 8, 7))
    assert (load_photo(written(tmp_path, encoded(plain, "PNG", transparency=(9, 8, 7))), 100).pixels == 128).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animations_give_their_first_frame(tmp_path: Path, kind: str) -> None:
    first, second = Image.new("RGB", (16, 16), (255, 0, 0)), Image.new("RGB", (16, 16), (0, 255, 0))
    data = encoded(first, kind, save_all=True, append_images=[second])
    colour = load_photo(written(tmp_path, data), 100).pixels.mean(axis=(0, 1))
    assert colour[0] > 240 and colour[1] < 15


def test_truncated(tmp_path: Path, quarters: Image.Image) -> None:
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"):
        data = encoded(quarters.resize((300, 200)), kind)
        reason, text = reason_of(written(tmp_path, data[: len(data) * 2 // 3]))
        assert reason == "unreadable", kind
        assert "photo.bin" in text


def test_empty_and_not_an_image(tmp_path: Path) -> None:
    assert reason_of(written(tmp_path, b""))[0] == "empty"
    reason, text = reason_of(written(tmp_path, b"just some words, no image", "notes.jpg"))
    assert reason == "unreadable" and "not an image" in text and "JPEG" in text
    assert reason_of(written(tmp_path, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"))[0] == "unreadable"


def test_heic_is_named(tmp_path: Path) -> None:
    reason, text = reason_of(written(tmp_path, b"\x00\x00\x00\x18ftypheic" + bytes(200), "IMG_1.HEIC"))
    assert reason == "unreadable" and "HEIC" in text and "export it as JPEG" in text


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(10_001, 10_000), (13_000, 13_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_huge_photos_are_refused_from_the_header(tmp_path: Path, size: tuple[int, int]) -> None:
    path = written(tmp_path, png_header(*size))
    tracemalloc.start()
    reason, text = reason_of(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reason == "too-large" and "at most 100 megapixels" in text
    assert peak < 20_000_000


def test_limit_is_the_callers(tmp_path: Path, quarters: Image.Image) -> None:
    path = written(tmp_path, encoded(quarters, "PNG"))
    assert load_photo(path, 0.0024).pixels.shape == (40, 60, 3)
    assert reason_of(path, 0.0023)[0] == "too-large"


@pytest.mark.parametrize(("kind", "options"), [("PNG", {"compress_level": 1}), ("JPEG", {"quality": 60})])
def test_large_photos_are_shrunk(tmp_path: Path, quarters: Image.Image, kind: str, options: dict[str, int]) -> None:
    big = quarters.resize((6000, 4001), Image.Resampling.NEAREST)
    loaded = load_photo(written(tmp_path, encoded(big, kind, **options)), 100)
    assert loaded.pixels.shape[0] * loaded.pixels.shape[1] <= 16_000_000
    assert loaded.reduction * loaded.pixels.shape[1] == pytest.approx(6000, rel=0.001)
    assert loaded.reduction * loaded.pixels.shape[0] == pytest.approx(4001, rel=0.001)
    assert corners(loaded.pixels) == "RGBW"


def test_jpeg_of_countless_scans_is_refused(tmp_path: Path, quarters: Image.Image) -> None:
    data = encoded(quarters, "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    bomb = data[:last] + data[last:-2] * 2000 + data[-2:]
    start = time.monotonic()
    reason, text = reason_of(written(tmp_path, bomb))
    assert reason == "unreadable" and "scans" in text
    assert time.monotonic() - start < 1


def test_things_that_are_no_files(tmp_path: Path) -> None:
    assert reason_of(tmp_path)[0] == "unreadable"
    assert reason_of(tmp_path / "gone.jpg")[0] == "unreadable"
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    start = time.monotonic()
    assert "no regular file" in reason_of(pipe)[1]
    assert time.monotonic() - start < 1
    (tmp_path / "a.jpg").symlink_to(tmp_path / "b.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    assert reason_of(tmp_path / "a.jpg")[0] == "unreadable"
    assert reason_of(Path("/dev/zero"))[0] == "unreadable"
    assert reason_of(Path("nul\0byte.jpg"))[0] == "unreadable"


def test_safe_name() -> None:
    assert safe_name(Path("/somewhere/secret/été.jpg")) == "été.jpg"
    assert safe_name(Path("a\nb\x1b[31m.jpg")) == "a\\nb\\x1b[31m.jpg"
    safe_name(Path(os.fsdecode(b"bad\xff.jpg"))).encode("utf-8")


def test_find_photos(tmp_path: Path, quarters: Image.Image) -> None:
    names = ["b.JPG", "a.png", "c.heic", "notes.txt", ".hidden.jpg", "sub/d.webp", ".cache/e.jpg"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "sub" / "again").symlink_to(tmp_path)
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "nowhere")
    result = find_photos([tmp_path])
    assert [p.relative_to(tmp_path).as_posix() for p in result] == [
        "a.png",
        "b.JPG",
        "broken.jpg",
        "c.heic",
        "sub/d.webp",
    ]
    explicit = [tmp_path / "notes.txt", tmp_path / "sub", tmp_path / "sub" / "d.webp"]
    assert find_photos(explicit) == [tmp_path / "notes.txt", tmp_path / "sub" / "d.webp"]
    assert find_photos([]) == []
    with pytest.raises(UsageError, match=r"gone\.jpg: expected a file or folder, found nothing; check"):
        find_photos([tmp_path / "gone.jpg"])


FUZZED = ["JPEG", "MPO", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"]
HOSTILE = [b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00\x00\xff\xff"]


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """A few random edits, most of them in the header; PNG checksums are set right again."""
    out = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(1, min(len(out), 200) if rng.random() < 0.6 else len(out)))
        match rng.integers(5):
            case 0:
                out[at] = int(rng.integers(256))
            case 1:
                out[at : at + 4] = HOSTILE[rng.integers(len(HOSTILE))]
            case 2:
                del out[at : at + int(rng.integers(1, 30))]
            case 3:
                out[at:at] = rng.bytes(int(rng.integers(1, 30)))
            case 4:
                del out[max(16, len(out) - at) :]
    position = 8 if out[:4] == b"\x89PNG" else len(out)
    while position + 12 <= len(out):
        end = position + 8 + int.from_bytes(out[position : position + 4], "big")
        out[end : end + 4] = struct.pack(">I", zlib.crc32(out[position + 4 : end])) if end + 4 <= len(out) else b""
        position = end + 4
    return bytes(out)


def survives(folder: Path, kind: str, rounds: int, seed: int) -> dict[str, int]:
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((96, 72))
    original = encoded(image, kind)
    outcomes: dict[str, int] = {}
    for _ in range(rounds):
        path = written(folder, mutated(original, rng))
        start = time.monotonic()
        try:
            pixels = load_photo(path, 100).pixels
            outcome = "loaded"
            assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size > 0
        except PhotoRejectedError as error:
            outcome = error.reason
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        assert time.monotonic() - start < 10
    return outcomes


@pytest.mark.parametrize("kind", FUZZED)
def test_damaged_bytes_load_or_are_rejected(tmp_path: Path, kind: str) -> None:
    outcomes = survives(tmp_path, kind, rounds=60, seed=1)
    assert set(outcomes) <= {"loaded", "unreadable", "too-large"}
    assert outcomes["unreadable"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", FUZZED)
def test_many_damaged_bytes(tmp_path: Path, kind: str) -> None:
    assert set(survives(tmp_path, kind, rounds=1500, seed=2)) <= {"loaded", "unreadable", "too-large"}
