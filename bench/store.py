"""Rates, bytes and survival of the replay store. Figures need no model but MobileNetV2."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from everface.bench.common import Full, Listen, Row, Timing, joined, timed
from everface.bench.torture.kills import kill_updates
from everface.bench.torture.malformed import malformed_reads
from everface.bench.torture.power import fail_writes, lose_power
from everface.engine.progress import ProgressReporter, ignore_progress
from everface.engine.replay.codec import CodecChoice
from everface.engine.replay.codec.latent import code_bytes
from everface.engine.replay.store import Commit, Key, NewMemory, ReplayStore

PAPER_BYTES = 4_500_000  # three 1024-pixel PNG files
BATCH, READ = 20, 8
CONFIG = '{"base": "base64"}'
FACES = Path(__file__).resolve().parents[1].parent / "shared/data/faces128.zip"


def faces(count: int, side: int, seed: int = 0) -> NDArray[np.uint8]:
    """Face crops [n, side, side, 3]: those of the shared archive, cut and resampled, or made-up pictures without it."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    if not FACES.is_file():
        coarse = rng.integers(30, 220, (count, 8, 8, 3)).astype(np.uint8)
        return np.stack(
            [np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC)) for one in coarse]
        )
    with zipfile.ZipFile(FACES) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".webp"))
        found = []
        for i in rng.choice(len(names), count, replace=count > len(names)):
            image = Image.open(io.BytesIO(archive.read(names[i]))).convert("RGB")
            a, b, c, d = (int(one) for one in rng.integers(2, 6, 4))
            cut = image.crop((a, b, image.width - c, image.height - d))
            found.append(np.asarray(cut.resize((side, side), Image.Resampling.LANCZOS)))
    return np.stack(found)


def photos(images: NDArray[np.uint8], timestamp: int, first: int = 0) -> list[NewMemory]:
    """New memories with made-up W codes and hashes."""
    made = []
    for i, image in enumerate(images):
        rng = np.random.default_rng((timestamp, first + i))
        w = (rng.normal(size=512) * 1.6).astype(np.float32)
        sha = rng.bytes(32).hex()
        made.append(NewMemory(
            image=image, timestamp=timestamp, w=w, spread=30.0, loss=0.2, dhash=int(rng.integers(2**63)), sha256=sha,
            reason="farthest from the hull",
        ))  # fmt: skip
    return made


def fill(store: ReplayStore, images: NDArray[np.uint8], batch: int) -> Timing:
    """Commits all images in batches, while they fit; what each commit takes."""
    commits = []
    for start in range(0, len(images), batch):
        timestamp = store.state.timestamps
        new = photos(images[start : start + batch], timestamp)
        room = store.state.room_bytes
        costs = np.cumsum(store.cost(new))
        new = new[: int(np.searchsorted(costs, room, side="right"))]
        if not new:
            break
        keep = tuple(one.id for one in store.memories())
        history = {"timestamp": timestamp, "accepted": len(new), "loss": 0.25}
        seen = tuple((one.sha256, one.dhash) for one in new)
        commit = Commit("ab" * 32, timestamp, keep, tuple(new), None, history, seen)
        commits.append(timed(partial(store.commit, commit))[1])
    return joined(commits)


def read_rows(case: str, store: ReplayStore, repeats: int) -> list[Row]:
    """Random batches of 8: the time on the clock, and that of the processor."""
    ids, rng = [one.id for one in store.memories()], np.random.default_rng(0)
    batches = [[ids[i] for i in rng.choice(len(ids), READ, replace=False)] for _ in range(repeats)]
    reads = joined([timed(partial(store.read_images, chosen))[1] for chosen in batches])
    # On a machine that does other work at the same time only the processor's time is the store's own.
    processor = reads.processor.row(f"{case}: read 8", "ms/batch", metric="processor time")
    return [reads.row(f"{case}: read 8", "ms/batch"), processor]


def rate_rows(folder: Path, full: bool) -> Iterator[Row]:
    """Append, read and compact at 128 px."""
    images = faces(300 if full else 80, 128)
    path, choice = folder / "rates.everface", CodecChoice("webp", 60, 6)
    with ReplayStore.create(path, budget_bytes=4 << 20, config_json=CONFIG, choice=choice) as store:
        yield fill(store, images, BATCH).row("append 20 at 128 px, webp 60", "ms/batch")
        yield from read_rows("128 px webp 60", store, 200 if full else 60)
        total = store.state.used_bytes / len(store.memories())
        report, compacting = timed(store.compact)
        yield from read_rows("128 px compacted", store, 200 if full else 60)
    yield Row("128 px with W code, all files, webp 60", "size", total, "bytes/item")
    rate = report.examined / compacting.median
    yield Row("compact 128 px webp 60", "rate", rate, "images/s", repeats=report.examined)
    yield Row("compact 128 px webp 60", "bytes kept", report.bytes_after / report.bytes_before, "fraction")


def capacity_rows(folder: Path, full: bool) -> Iterator[Row]:
    """The paper's budget: how many memories, how well; and overhead at small budgets."""
    for side, choice, needed in ((128, CodecChoice("avif", 47, 1), 2500), (256, CodecChoice("avif", 60, 0), 800)):
        share = 1 if full else 10
        images = faces((3000 if side == 128 else 1400) // share, side)
        path = folder / f"paper-{side}.everface"
        with ReplayStore.create(path, budget_bytes=PAPER_BYTES // share, config_json=CONFIG, choice=choice) as store:
            fill(store, images, 200)
            memories = store.memories()
            size = store.state.used_bytes
            case = f"{PAPER_BYTES // share} bytes at {side} px, avif {choice.quality}"
            yield Row(case, "memories", len(memories), "items").beside("required", needed / share, higher=True)
            yield Row(case, "size", size / len(memories), "bytes/item")
            yield Row(case, "error", _error(store, images, 64), "MobileNetV2 distance", repeats=64)
            yield from read_rows(case, store, 100)
    for budget in (64 * 1024, 1024 * 1024):
        path = folder / f"overhead-{budget}.everface"
        choice = CodecChoice("avif", 40, 0)
        with ReplayStore.create(path, budget_bytes=budget, config_json=CONFIG, choice=choice) as store:
            fill(store, faces(1200 if budget > 1e5 else 80, 128), 20)
            content = store._content()
            payload = int(content.rows["length"].sum()) + len(content.rows) * code_bytes(content.dimension)
            over = store.state.used_bytes - payload
        case = f"overhead at {budget // 1024} KiB"
        yield Row(f"{case}, {len(content.rows)} memories of 128 px", "overhead", over, "bytes")
        yield Row(case, "overhead", over / payload, "of image and latent bytes")


def _error(store: ReplayStore, images: NDArray[np.uint8], count: int) -> float:
    """Mean MobileNetV2 distance of stored images to what was given."""
    import torch

    from everface.engine.perception.perceptual import PerceptualDistance

    by_sha = {}
    for start in range(0, len(images), 200):
        timestamp = start // 200
        for new in photos(images[start : start + 200], timestamp):
            by_sha[new.sha256[:16]] = new.image
    chosen = store.memories()[:count]
    stored = np.stack(store.read_images([one.id for one in chosen]))
    given = np.stack([by_sha[one.source_sha256] for one in chosen])
    both = [torch.from_numpy(one).permute(0, 3, 1, 2).float() / 127.5 - 1 for one in (stored, given)]
    with torch.no_grad():
        return float(PerceptualDistance.load()(both[0], both[1]).mean())


def survival_rows(folder: Path, full: bool) -> Iterator[Row]:
    """Killed updates, malformed files, lost power, failing disks."""
    for kind, key in (("", None), ("sealed ", Key(b"torture"))):
        place = folder / f"store {kind}"
        place.mkdir()
        kills = kill_updates(place, 1000 if full else 40, key=key)
        case = f"{kills.kills} kills over {kills.updates} {kind}updates"
        yield Row(case, "losses", len(kills.losses), "losses", repeats=kills.kills)
        files = malformed_reads(place, (100_000 if full else 2000) // (10 if key else 1), key=key)
        outcomes = {"wrong": len(files.wrong), "refused": files.refused, "read correctly": files.correct}
        for metric, count in outcomes.items():
            yield Row(f"{files.files} malformed {kind}files", metric, count, "files", repeats=files.files)
    power, disk = lose_power(folder, 3000 if full else 150), fail_writes(folder, 1000 if full else 60)
    for losses in (power, disk):
        case = f"{losses.cases} {'power losses' if losses is power else 'failing writes and syncs'}"
        yield Row(case, "losses", len(losses.losses), "losses", repeats=losses.cases)


def run(*, full: Full = False, on_progress: Listen = ignore_progress) -> list[Row]:
    """Runs all parts; the full run kills 1000 updates and reads 100 000 malformed files."""
    parts = (rate_rows, capacity_rows, survival_rows)
    reporter = ProgressReporter("store", len(parts), on_progress)
    rows: list[Row] = []
    for part in parts:
        with tempfile.TemporaryDirectory() as folder:
            rows += part(Path(folder), full)
        reporter.advance()
    return rows
