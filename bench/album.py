"""Real updates on a person's album: what the workspace learns and keeps, judged from outside.

``everface bench album DIR --judge MOBILEFACENET.onnx`` takes a folder of photos in the order of their names: each
update learns the next photos, those right after the first batch are held out to see what is forgotten of it, and those
after the last batch to judge identity. Without a folder it is the embedded album.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from everface.bench.common import Full, Listen, Row, Timing
from everface.bench.demo_album import unpack_demo_album
from everface.bench.judge import embedder
from everface.bench.protocol import LOSS, reconstruct
from everface.bench.sequence import Batch, Embed, EncodedBatch, inverted_batch
from everface.engine.config import EngineConfig, InvertConfig, parse_bytes
from everface.engine.errors import NothingToDoError, UsageError
from everface.engine.learn.backend import Backend, open_backend
from everface.engine.metrics.identity import mean_best_cosine
from everface.engine.photos import FaceModels, find_photos, prepare_photos
from everface.engine.pictures import to_uint8
from everface.engine.progress import OnProgress, ignore_progress
from everface.engine.session import Engine

POLICIES = ("lower", "er-hull")
EVALUATE = InvertConfig(steps=50, learning_rate=0.02, batch=16)
SAMPLES = 16


@dataclass(frozen=True)
class Album:
    """Photos of one person.

    Attributes:
        name: of the person.
        updates: the photos of each update.
        first_held_out: photos like those of the first update that are never learned.
        held_out: photos to judge identity by, never learned.
    """

    name: str
    updates: tuple[tuple[Path, ...], ...]
    first_held_out: tuple[Path, ...]
    held_out: tuple[Path, ...]


def album_in(folder: Path, updates: int = 4, batch: int = 20, held_out: int = 40) -> Album:
    """Divides a folder of photos, in the order of their names.

    Args:
        folder: with the photos of one person.
        updates: how many.
        batch: photos in an update.
        held_out: photos to judge by, as many as are left, at most this many; a quarter of a batch more is held out
            right after the first batch.

    Raises:
        UsageError: there are too few photos.
    """
    photos, first = find_photos([folder]), max(1, batch // 4)
    needed = updates * batch + first + 2
    if updates < 1 or batch < 1 or len(photos) < needed:
        expected = f"at least {needed} photos for {updates} updates of {batch}"
        raise UsageError(folder.name, expected=expected, found=str(len(photos)), remedy="use a smaller --batch")
    learned = [*photos[:batch], *photos[batch + first : updates * batch + first]]
    parts = tuple(tuple(learned[i * batch : (i + 1) * batch]) for i in range(updates))
    rest = photos[updates * batch + first :][:held_out]
    return Album(folder.name, parts, tuple(photos[batch : batch + first]), tuple(rest))


def demo_album_in(folder: Path) -> Album:
    """The embedded album, unpacked into a folder."""
    batches = unpack_demo_album(folder)
    held_out = tuple(path for _, _, held in batches for path in held)
    return Album("synthetic", tuple(train for _, train, _ in batches), batches[0][2], held_out)


@dataclass(frozen=True, eq=False)
class Yardstick:
    """What all policies are measured by.

    Attributes:
        name: of the judge of identity.
        embed: the judge.
        references: its embeddings of the held-out photos.
        first: the first batch's held-out photos, with their codes.
    """

    name: str
    embed: Embed
    references: NDArray[np.float32]
    first: EncodedBatch

    @classmethod
    def of(cls, album: Album, judge: Path | None, config: EngineConfig) -> Yardstick:
        """Of an album's photos that are never learned.

        Raises:
            MissingBackendError: there is no judge at that path.
            NothingToDoError: none of those photos is usable.
        """
        backend = open_backend(config)
        name, embed = embedder(judge, backend, config)
        references = embed(_images(album.held_out, "held-out photos", backend, config))
        first = _images(album.first_held_out, "held-out photos of the first batch", backend, config)
        # Only its held-out half is used: these photos are never learned.
        held_out = inverted_batch(backend, Batch("first", first[:1], first), config.invert, embed)
        return cls(name, embed, references, held_out)

    def identity(self, images: NDArray[np.uint8]) -> float:
        """Mean best cosine of pictures to the held-out photos."""
        return mean_best_cosine(self.embed(images), self.references)

    def error(self, engine: Engine) -> float:
        """Mean reconstruction loss of the first batch's held-out photos."""
        person = engine.person
        return float(reconstruct(person.backend, person.model, [self.first], EVALUATE).losses.mean())


def _images(paths: Sequence[Path], what: str, backend: Backend, config: EngineConfig) -> NDArray[np.uint8]:
    photos = prepare_photos(paths, backend.shape.resolution, config.photo, models=FaceModels.load()).accepted
    if not photos:
        raise NothingToDoError(what, expected="at least one usable photo", found="none", remedy="add clearer photos")
    return np.stack([photo.image for photo in photos])


def policy_rows(
    album: Album, by: Yardstick, config: EngineConfig, on_progress: OnProgress = ignore_progress
) -> list[Row]:
    """Real updates in a workspace of its own, under the configuration's policy.

    Args:
        album: the photos.
        by: what it is measured by.
        config: of the workspace.
        on_progress: hears the updates' stages.
    """
    reports, errors = [], []
    with (
        tempfile.TemporaryDirectory(prefix="everface-album-") as scratch,
        Engine.create(Path(scratch) / "person.everface", config) as engine,
    ):
        for photos in album.updates:
            reports.append(engine.update(photos, on_progress=on_progress))
            if len(reports) in (1, len(album.updates)):
                errors.append(by.error(engine))
        codes, status = engine.sample_codes(SAMPLES, seed=0), engine.status()
        before = to_uint8(engine.person.backend.model(None).render(codes))
        after = engine.render(codes)
    half = len(by.references) // 2
    case, cosine = f"{album.name} {config.policy}", f"{by.name} cosine"
    rows = [
        Row(case, "accepted", sum(len(report.accepted) for report in reports), "photos"),
        Row(case, "rejected", sum(len(report.rejected) for report in reports), "photos"),
        Row(case, "memories", len(status.memories), "photos"),
        Row(case, "store", status.file_bytes, "bytes"),
        Timing(tuple(report.seconds for report in reports)).row(case, "minutes", 1 / 60, "update time"),
        Row(case, "identity before", by.identity(before), cosine),
        Row(case, "identity after", by.identity(after), cosine),
        Row(case, "first batch, after it", errors[0], LOSS),
        Row(case, "first batch, at the end", errors[-1], LOSS),
    ]
    if half:  # what one half of the real photos reaches beside the other
        real = mean_best_cosine(by.references[:half], by.references[half:])
        rows.insert(-2, Row(case, "identity of real photos", real, cosine))
    return rows


def album_rows(
    album: Album, policies: Sequence[str], by: Yardstick, config: EngineConfig,
    on_progress: OnProgress = ignore_progress,
) -> list[Row]:  # fmt: skip
    """All policies on one album; what is forgotten stands beside ``lower``'s where that is the first of them."""
    rows: list[Row] = []
    for name in policies:
        mine = policy_rows(album, by, replace(config, policy=name), on_progress)
        if rows and policies[0] == "lower":
            mine[-1] = mine[-1].beside("lower", rows[len(mine) - 1].value)
        rows += mine
    return rows


def run(
    folder: Path | None = None, *, judge: Path | None = None, policies: tuple[str, ...] = (), batch: int = 20,
    full: Full = False, on_progress: Listen = ignore_progress,
) -> list[Row]:  # fmt: skip
    """Measures policies on an album, in workspaces of 128 KiB.

    Args:
        folder: photos of one person, for four updates; the embedded album where left out.
        judge: a MobileFaceNet in ONNX; dlib's embedder, which also chooses among several faces, where left out.
        policies: their names.
        batch: photos in an update.
        full: more policies.
        on_progress: hears the updates.
    """
    names = policies or ((*POLICIES, "er-rand", "upper") if full else POLICIES)
    config = EngineConfig(budget_bytes=parse_bytes("128KiB"))
    with tempfile.TemporaryDirectory(prefix="everface-album-") as scratch:
        album = demo_album_in(Path(scratch)) if folder is None else album_in(folder, batch=batch)
        return album_rows(album, names, Yardstick.of(album, judge, config), config, on_progress)
