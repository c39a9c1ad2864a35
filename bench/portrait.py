"""One photo through the personal model and through the base: reconstruct, enhance and edit, judged by identity.

``everface bench portrait DIR --judge MOBILEFACENET.onnx --pictures FILE.png`` learns a folder of one person's photos in
two updates and restores photos that it never saw, spoilt in several ways. The unpersonalised base restores the same by
free optimisation in W+, from its encoder's code and in its coordinates.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from everface.bench.album import Album, album_in, demo_album_in
from everface.bench.common import Full, Listen, Row
from everface.bench.judge import embedder
from everface.bench.sequence import Embed
from everface.engine.config import EngineConfig, parse_bytes
from everface.engine.errors import NothingToDoError, PhotoRejectedError
from everface.engine.latents.invert import invert
from everface.engine.photos import FaceModels
from everface.engine.photos.single import align_single
from everface.engine.pictures import grid_of, to_uint8
from everface.engine.progress import OnProgress, ignore_progress
from everface.engine.session import Engine, EnhanceOptions, Portrait
from everface.engine.session.placed import SEARCH

BASE_SEARCH = SEARCH
NOISE = 30.0


@dataclass(frozen=True)
class Spoil:
    """A way to spoil a photo; of it the restoration is told the cover alone.

    Attributes:
        name: of the case.
        shrink: the photo is reduced by this and enlarged again.
        blur: Gaussian blur in pixels of the photo.
        noise: standard deviation of added noise, grey levels.
        cover: share of the photo's height below the middle that is painted over.
        jpeg: quality that it is saved with, 0 for without loss.
    """

    name: str
    shrink: float = 1.0
    blur: float = 0.0
    noise: float = 0.0
    cover: bool = False
    jpeg: int = 0


RECONSTRUCT = Spoil("reconstruct")
EDITS = (
    ("pose", -15.0),
    ("pose", 15.0),
    ("pitch", 7.0),
    ("smile", 1.0),
    ("eyes", 1.0),
    ("light", 1.0),
    ("brightness", 25.0),
)
SPOILS = (
    Spoil("enhance small", shrink=8),
    Spoil("enhance blurred", blur=5.0),
    Spoil("enhance noisy", noise=NOISE),
    Spoil("enhance covered", cover=True),
    Spoil("enhance JPEG 10", jpeg=10),
)


def measure_portraits(
    album: Album, judge: Path | None, config: EngineConfig, most: int = 12, on_progress: OnProgress = ignore_progress
) -> tuple[list[Row], NDArray[np.uint8]]:
    """Learns an album and restores its held-out photos.

    Args:
        album: the photos; all its updates are learned.
        judge: a MobileFaceNet in ONNX, None for the packaged embedder.
        config: of the workspace.
        most: held-out photos that show the person, at the most.
        on_progress: hears the updates.

    Returns:
        Rows, and a picture: of four photos a row each of photo, spoilt photo, base, personal, for every way. Ways that
        leave no face to be found have none.

    Raises:
        NothingToDoError: no face on any held-out photo.
    """
    with tempfile.TemporaryDirectory(prefix="everface-portrait-") as scratch:
        folder = Path(scratch)
        with Engine.create(folder / "person.everface", config) as engine:
            for photos in album.updates:
                engine.update(photos, on_progress=on_progress)
            name, embed = embedder(judge, engine.person.backend, config)
            faces = FaceModels.load()
            held_out = dict(islice(_aligned(engine, faces, album.held_out), most))
            bench = _Portraits(engine, embed, name, folder, held_out)
            sheets = {spoil.name: list(bench.restored(spoil)) for spoil in (RECONSTRUCT, *SPOILS)}
            if not any(sheets.values()):
                remedy = "hold out clearer photos"
                raise NothingToDoError("portrait", expected="a held-out photo of a face", found="none", remedy=remedy)
            rows = []
            for case, sheet in sheets.items():
                if sheet and case != RECONSTRUCT.name:
                    rows.append(bench.row(case, "photo", 1, sheet))
                if sheet:
                    rows.append(bench.row(case, "base", 2, sheet))
            rows += bench.edits()
    shown = [np.concatenate(sheet[:4]) for sheet in sheets.values() if sheet]
    return rows, grid_of(np.concatenate(shown), len(shown[0]))


def _aligned(engine: Engine, faces: FaceModels, paths: Sequence[Path]) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    """The photos that can be restored before they are spoilt, as the model would draw them."""
    resolution, photo, owner = engine.person.backend.shape.resolution, engine.config.photo, engine.person.likeness
    for path in paths:
        with suppress(PhotoRejectedError):
            yield path, align_single(path, resolution, photo, models=faces, owner=owner).image


@dataclass(frozen=True, eq=False)
class _Portraits:
    engine: Engine
    embed: Embed
    judge: str
    folder: Path
    held_out: Mapping[Path, NDArray[np.uint8]]

    def restored(self, spoil: Spoil) -> Iterator[NDArray[np.uint8]]:
        """Of each held-out photo: clean, spoilt, by the base, by the personal model, [4, R, R, 3]."""
        for i, (path, clean) in enumerate(self.held_out.items()):
            with suppress(PhotoRejectedError):  # no face is found once it is spoilt: nothing to compare
                spoilt, mask = self._spoilt(path, spoil, i)
                personal = (
                    self.engine.reconstruct(spoilt)
                    if spoil is RECONSTRUCT
                    else self.engine.enhance(spoilt, EnhanceOptions(mask))
                )
                base = self._by_base(personal)
                yield np.stack([clean, personal.photo, base, personal.image])

    def edits(self) -> Iterator[Row]:
        """Of each edit: how much of what was asked is measured, and identity to the unedited picture."""
        for name, amount in EDITS:
            shares, cosines = [], []
            for path in self.held_out:
                with suppress(PhotoRejectedError, NothingToDoError):
                    edited = self.engine.edit(path, {name: amount})
                    shares.append(edited.effects[0].measured / amount)
                    cosines.append(self._cosine(edited.image, self.engine.reconstruct(path).image))
            case, judge = f"edit {name} {amount:+g}", f"{self.judge} cosine to the unedited picture"
            for metric, values, unit in (("effect", shares, "share of what was asked"), ("identity", cosines, judge)):
                if values:
                    low, middle, high = np.percentile(values, [25, 50, 75])
                    yield Row(case, metric, float(middle), unit, repeats=len(values), spread=float(high - low))

    def row(self, case: str, peer: str, column: int, sheet: Sequence[NDArray[np.uint8]]) -> Row:
        """Identity of the last pictures, beside that of a column of them, to the first of each."""
        theirs, ours = np.array([[self._cosine(one[k], one[0]) for one in sheet] for k in (column, 3)])
        low, high = np.percentile(ours, [25, 75])
        mean, other = float(ours.mean()), float(theirs.mean())
        # A ratio of cosines means nothing where the peer's is about 0.
        ratio = mean / max(other, 0.01)
        unit = f"{self.judge} cosine to the clean photo"
        return Row(case, "identity", mean, unit, peer, other, ratio, len(ours), high - low)

    def _spoilt(self, path: Path, spoil: Spoil, number: int) -> tuple[Path, Path | None]:
        with Image.open(path) as opened:
            photo = opened.convert("RGB")
        width, height = photo.size
        if spoil.shrink > 1:
            small = (round(width / spoil.shrink), round(height / spoil.shrink))
            photo = photo.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BICUBIC)
        if spoil.blur:
            photo = photo.filter(ImageFilter.GaussianBlur(spoil.blur * width / 250))
        if spoil.noise:
            noise = np.random.default_rng(number).normal(0, spoil.noise, (height, width, 3))
            photo = Image.fromarray((np.asarray(photo) + noise).clip(0, 255).astype(np.uint8))
        mask = None
        if spoil.cover:
            mask = self.folder / f"mask-{number}.png"
            box = (0, round(0.56 * height), width, height)
            white = Image.new("L", photo.size, 255)
            white.paste(0, box)
            white.save(mask)
            photo.paste((90, 120, 160), box)
        out = self.folder / f"spoilt-{number}{'.jpg' if spoil.jpeg else '.png'}"
        photo.save(out, quality=spoil.jpeg or 95)
        return out, mask

    def _by_base(self, personal: Portrait) -> NDArray[np.uint8]:
        """The untuned base's picture of the same photo, taken to have undergone the same."""
        backend, photo = self.engine.person.backend, personal.photo
        target = backend.prepare(photo[None], personal.degradation)
        codes = backend.encode(photo[None])
        start = np.repeat((backend.mean[None] if codes is None else codes)[:, None], backend.shape.num_ws, axis=1)
        base = backend.model(None)
        found = invert(base, target, start, BASE_SEARCH, coordinates=backend.coordinates)
        image: NDArray[np.uint8] = to_uint8(base.render(found.codes))[0]
        return image

    def _cosine(self, image: NDArray[np.uint8], clean: NDArray[np.uint8]) -> float:
        a, b = self.embed(np.stack([image, clean]))
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def run(
    folder: Path | None = None, *, judge: Path | None = None, pictures: Path | None = None, most: int = 2,
    full: Full = False, on_progress: Listen = ignore_progress,
) -> list[Row]:  # fmt: skip
    """Learns an album and restores its held-out photos.

    Args:
        folder: photos of one person; two updates learn of them, or of the embedded album where left out.
        judge: a MobileFaceNet in ONNX; dlib's embedder where left out.
        pictures: file for a page of pictures.
        most: held-out photos at the most.
        full: twelve of them.
        on_progress: hears the updates.
    """
    config, most = EngineConfig(budget_bytes=parse_bytes("128KiB")), 12 if full else most
    with tempfile.TemporaryDirectory(prefix="everface-portrait-") as scratch:
        album = demo_album_in(Path(scratch)) if folder is None else album_in(folder, 2)
        album = replace(album, updates=album.updates[:2])
        rows, page = measure_portraits(album, judge, config, most, on_progress)
    if pictures is not None:
        Image.fromarray(page).save(pictures)
    return rows
