"""Real updates on a person's album: what the workspace learns and keeps, judged from outside.

``python -m everface.bench.album DIR --judge MOBILEFACENET.onnx --json FILE`` takes a folder of photos in the order of
their names: each update learns the next photos, those right after the first batch are held out to see what is
forgotten of it, and those after the last batch to judge identity. ``everface bench album`` runs the embedded album.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from everface.bench.common import BenchResult, Row, machine, write_json
from everface.bench.demo_album import unpack_demo_album
from everface.bench.judge import IdentityJudge
from everface.bench.progress import PlainProgress
from everface.bench.sequence import Batch, Embed, EncodedBatch, inverted_batch, reconstruct
from everface.engine.config import EngineConfig, InvertConfig, parse_bytes
from everface.engine.errors import NothingToDoError, UsageError
from everface.engine.learn.backend import open_backend
from everface.engine.metrics.identity import mean_best_cosine
from everface.engine.photos import FaceModels, find_photos, prepare_photos
from everface.engine.pictures import to_uint8
from everface.engine.progress import OnProgress, ignore_progress
from everface.engine.session import Engine, UpdateReport

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


@dataclass(frozen=True)
class PolicyResult:
    """What one policy reached.

    Attributes:
        policy: its name.
        reports: one an update.
        identity_before: mean best cosine of the untuned base's pictures to the held-out photos.
        identity_after: the same of the personal model, at the same codes.
        first_error: mean reconstruction loss of the first batch's held-out photos after the first update.
        last_error: after the last update.
        memories: photos kept at the end.
        file_bytes: size of the store at the end.
    """

    policy: str
    reports: tuple[UpdateReport, ...]
    identity_before: float
    identity_after: float
    first_error: float
    last_error: float
    memories: int
    file_bytes: int


@dataclass(frozen=True)
class AlbumResult:
    """All policies on one album.

    Attributes:
        album: the photos.
        judge: what judged identity.
        real: mean best cosine of one half of the held-out photos to the other: what real photos reach.
        policies: one result each.
    """

    album: Album
    judge: str
    real: float
    policies: tuple[PolicyResult, ...]


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


def measure_album(
    album: Album,
    judge: Path | None,
    policies: Sequence[str] = POLICIES,
    config: EngineConfig | None = None,
    on_progress: OnProgress = ignore_progress,
) -> AlbumResult:
    """Runs real updates in workspaces of their own, one a policy.

    Args:
        album: the photos.
        judge: a MobileFaceNet in ONNX, None for the packaged embedder, which also chooses among several faces.
        policies: their names.
        config: of the workspaces; the policy in it is replaced.
        on_progress: hears the updates' stages.

    Raises:
        MissingBackendError: there is no judge at that path.
        NothingToDoError: a batch or the held-out photos hold no usable photo.
    """
    config = config or EngineConfig(budget_bytes=parse_bytes("128KiB"))
    backend, faces = open_backend(config), FaceModels.load()

    def images(paths: Sequence[Path], what: str) -> NDArray[np.uint8]:
        photos = prepare_photos(paths, backend.shape.resolution, config.photo, models=faces).accepted
        if not photos:
            remedy = "add clearer photos"
            raise NothingToDoError(what, expected="at least one usable photo", found="none", remedy=remedy)
        return np.stack([photo.image for photo in photos])

    embed: Embed = backend.embed if judge is None else IdentityJudge(judge, config.photo.crop_scale).embed
    references = embed(images(album.held_out, "held-out photos"))
    first = images(album.first_held_out, "held-out photos of the first batch")
    # Only its held-out half is used: these photos are never learned.
    held_out = inverted_batch(backend, Batch("first", first[:1], first), config.invert, embed)
    results = []
    for name in policies:
        with tempfile.TemporaryDirectory(prefix="everface-album-") as scratch:
            mine = replace(config, policy=name)
            with Engine.create(Path(scratch) / "person.everface", mine) as engine:
                results.append(_measure_policy(engine, album, held_out, _Judge(embed, references), on_progress))
    half = len(references) // 2
    real = mean_best_cosine(references[:half], references[half:]) if half else float("nan")
    return AlbumResult(album, "dlib" if judge is None else judge.stem, real, tuple(results))


@dataclass(frozen=True, eq=False)
class _Judge:
    embed: Embed
    references: NDArray[np.float32]

    def of(self, images: NDArray[np.uint8]) -> float:
        return mean_best_cosine(self.embed(images), self.references)


def _measure_policy(
    engine: Engine, album: Album, first: EncodedBatch, judge: _Judge, on_progress: OnProgress
) -> PolicyResult:
    reports, errors = [], []
    for t, photos in enumerate(album.updates):
        reports.append(engine.update(photos, on_progress=on_progress))
        if t in (0, len(album.updates) - 1):
            person = engine.person
            errors.append(float(reconstruct(person.backend, person.model, [first], EVALUATE).losses.mean()))
    codes = engine.sample_codes(SAMPLES, seed=0)
    before = to_uint8(engine.person.backend.model(None).render(codes))
    status = engine.status()
    return PolicyResult(
        status.policy, tuple(reports), judge.of(before), judge.of(engine.render(codes)), errors[0], errors[-1],
        len(status.memories), status.file_bytes,
    )  # fmt: skip


def rows_of(result: AlbumResult) -> tuple[Row, ...]:
    """The result in the form of all benchmarks; ``er-hull`` and others stand beside ``lower`` where it was run."""
    rows: list[Row] = []
    lower = next((outcome for outcome in result.policies if outcome.policy == "lower"), None)
    for outcome in result.policies:
        case, cosine = f"{result.album.name} {outcome.policy}", f"{result.judge} cosine"
        minutes = [report.seconds / 60 for report in outcome.reports]
        low, middle, high = (float(np.percentile(minutes, share)) for share in (25, 50, 75))
        rows += [
            Row(case, "accepted", sum(len(report.accepted) for report in outcome.reports), "photos"),
            Row(case, "rejected", sum(len(report.rejected) for report in outcome.reports), "photos"),
            Row(case, "memories", outcome.memories, "photos"),
            Row(case, "store", outcome.file_bytes, "bytes"),
            Row(case, "update time", middle, "minutes", repeats=len(minutes), spread=high - low),
            Row(case, "identity before", outcome.identity_before, cosine),
            Row(case, "identity after", outcome.identity_after, cosine),
            Row(case, "identity of real photos", result.real, cosine),
            Row(case, "first batch, after it", outcome.first_error, "MobileNetV2 distance + MSE"),
        ]
        beside = lower if lower is not None and outcome is not lower else None
        rows.append(
            Row(
                case, "first batch, at the end", outcome.last_error, "MobileNetV2 distance + MSE",
                peer=None if beside is None else "lower",
                peer_value=None if beside is None else beside.last_error,
                ratio=None if beside is None else beside.last_error / outcome.last_error,
            )
        )  # fmt: skip
    return tuple(rows)


def run(full: bool, on_progress: OnProgress = ignore_progress) -> BenchResult:
    """The embedded album with the packaged judge; ``full`` runs more policies."""
    with tempfile.TemporaryDirectory(prefix="everface-album-") as scratch:
        policies = (*POLICIES, "er-rand", "upper") if full else POLICIES
        result = measure_album(demo_album_in(Path(scratch)), None, policies, on_progress=on_progress)
    return BenchResult("album", rows_of(result), machine())


def main(arguments: Sequence[str] | None = None, say: Callable[[str], object] = sys.stdout.write) -> None:
    """``python -m everface.bench.album``."""
    parser = argparse.ArgumentParser(prog="python -m everface.bench.album", description=__doc__)
    parser.add_argument("folder", type=Path, help="photos of one person")
    parser.add_argument("--judge", type=Path, help="a MobileFaceNet in ONNX; dlib's embedder where left out")
    parser.add_argument("--json", type=Path, help="file for the rows")
    parser.add_argument("--policies", default=",".join(POLICIES))
    parser.add_argument("--updates", type=int, default=4)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--budget", default="128KiB")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    config = EngineConfig(budget_bytes=parse_bytes(options.budget), seed=options.seed)
    album = album_in(options.folder, options.updates, options.batch)
    result = measure_album(album, options.judge, options.policies.split(","), config, PlainProgress())
    rows = rows_of(result)
    for row in rows:
        say(f"{row.case}: {row.metric} {row.value:.4g} {row.unit}\n")
    if options.json is not None:
        write_json(BenchResult("album", rows, machine()), options.json)


if __name__ == "__main__":
    main()
