"""`bench store`: rates, bytes and survival of the replay store, beside the buffers of other projects.

Peers: Avalanche's reservoir buffer saved with ``torch.save``, torchrl's compressed storage, the paper's folder of PNG
files. Timings of peers are taken in their own process between repeats of ours. Figures need no model but MobileNetV2.
"""

from __future__ import annotations

import io
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.bench.baselines.buffers import BATCH, PEERS, READ, measure_peer
from everface.bench.torture.kills import kill_updates
from everface.bench.torture.malformed import malformed_reads
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress
from everface.engine.replay.codec import CodecChoice
from everface.engine.replay.rate import equal_error_bytes, rate_points
from everface.engine.replay.store import Commit, NewMemory, ReplayStore

__all__ = ["measure"]

Row = dict[str, Any]
PAPER_BYTES = 4_500_000  # three 1024-pixel PNG files
CONFIG = '{"base": "base64"}'
FACES = Path(__file__).resolve().parents[1].parent / "shared/data/faces128.zip"


def row(case: str, metric: str, value: float, unit: str, **more: Any) -> Row:
    """One row of the result; ratio > 1 is better than the peer."""
    peer_value, lower = more.get("peer_value"), unit.startswith(("ms", "bytes"))
    ratio = None
    if peer_value is not None and value:
        ratio = peer_value / value if lower else value / peer_value
    return {
        "case": case, "metric": metric, "value": round(value, 4), "unit": unit, "peer": more.get("peer"),
        "peer_value": peer_value, "ratio": None if ratio is None else round(ratio, 3),
        "repeats": more.get("repeats", 1), "spread": round(more.get("spread", 0.0), 4),
    }  # fmt: skip


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
        made.append(NewMemory(image, timestamp, w, 30.0, 0.2, int(rng.integers(2**63)), sha, "farthest from the hull"))
    return made


def fill(store: ReplayStore, images: NDArray[np.uint8], batch: int) -> list[float]:
    """Commits all images in batches, while they fit; returns the seconds of each commit."""
    seconds = []
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
        began = time.perf_counter()
        store.commit(Commit("ab" * 32, timestamp, keep, tuple(new), None, history, seen))
        seconds.append(time.perf_counter() - began)
    return seconds


def _quartiles(values: list[float]) -> tuple[float, float]:
    if len(values) < 4:
        return statistics.median(values), 0.0
    low, middle, high = statistics.quantiles(values, n=4)
    return middle, high - low


def codec_rows() -> Iterator[Row]:
    """Bytes of an image by codec at equal perceptual error, from the rate model; peer is JPEG."""
    for side in (64, 128):
        for error in (0.1, 0.2, 0.3):
            found: dict[str, float] = {}
            for name, effort in (("jpeg", 6), ("webp", 6), ("avif", 0), ("avif", 6), ("jxl", 7)):
                ladder = [
                    one for one in rate_points() if one.side == side and one.choice.name == name
                    and one.choice.effort == effort and one.choice.resolution in (None, side)
                ]  # fmt: skip
                size = equal_error_bytes(ladder, error)
                if size is not None:
                    found[f"{name} effort {effort}"] = size
            jpeg = found.get("jpeg effort 6")
            for name, size in found.items():
                peer = {"peer": "jpeg", "peer_value": jpeg} if jpeg and not name.startswith("jpeg") else {}
                yield row(f"codec {name} {side} px at MobileNetV2 distance {error}", "size", size, "bytes/item", **peer)


def rate_rows(folder: Path, full: bool) -> Iterator[Row]:
    """Append, read and compact at 128 px, in turns with the peers."""
    images = faces(600 if full else 120, 128)
    w = np.stack([one.w for one in photos(images, 0)])
    path = folder / "rates.everface"
    choice = CodecChoice("webp", 60, 6)
    with ReplayStore.create(path, budget_bytes=4 << 20, config_json=CONFIG, choice=choice) as store:
        appended = [one * 1e3 for one in fill(store, images, BATCH)]
        ids = [one.id for one in store.memories()]
        used = (store.state.memory_bytes + 0.0) / len(ids)
        rng, reads = np.random.default_rng(0), []
        for _ in range(200 if full else 60):
            chosen = [ids[i] for i in rng.choice(len(ids), READ, replace=False)]
            began = time.perf_counter()
            store.read_images(chosen)
            reads.append((time.perf_counter() - began) * 1e3)
        total = (path / "replay.db").stat().st_size / len(ids)
        began = time.perf_counter()
        report = store.compact(choice=CodecChoice("avif", 45, 6))
        rate = report.examined / (time.perf_counter() - began)
    append, append_spread = _quartiles(appended)
    read, read_spread = _quartiles(reads)
    for name in PEERS:
        told = measure_peer(name, images, w)
        if "missing" in told:
            yield row(f"peer {name} missing: {told['missing']}", "missing", 1, "peers", peer=name)
            continue
        yield row("append 20 at 128 px", "time", append, "ms/batch", peer=name, peer_value=told["append_ms"],
                  repeats=len(appended), spread=append_spread)  # fmt: skip
        yield row("read 8 at 128 px", "time", read, "ms/batch", peer=name, peer_value=told["read_ms"],
                  repeats=len(reads), spread=read_spread)  # fmt: skip
        yield row("bytes 128 px with W code, all files", "size", total, "bytes/item", peer=name,
                  peer_value=told["bytes"] / len(images))  # fmt: skip
    yield row("memory 128 px webp 60", "size", used, "bytes/item")
    yield row("compact 128 px webp 60 to avif 45", "rate", rate, "images/s", repeats=report.examined)
    yield row("compact 128 px webp 60 to avif 45", "bytes kept", report.bytes_after / report.bytes_before, "fraction")


def capacity_rows(folder: Path, full: bool, perceptual: bool = True) -> Iterator[Row]:
    """The paper's budget: how many memories, how well; and overhead at small budgets."""
    for side, choice, needed in ((128, CodecChoice("avif", 47, 1), 2500), (256, CodecChoice("avif", 60, 0), 800)):
        share = 1 if full else 10
        images = faces((3000 if side == 128 else 1400) // share, side)
        path = folder / f"paper-{side}.everface"
        with ReplayStore.create(path, budget_bytes=PAPER_BYTES // share, config_json=CONFIG, choice=choice) as store:
            fill(store, images, 200)
            memories = store.memories()
            size = (path / "replay.db").stat().st_size
            case = f"{PAPER_BYTES // share} bytes at {side} px, avif {choice.quality}"
            yield row(case, "memories", len(memories), "items", peer="required", peer_value=needed / share)
            yield row(case, "size", size / len(memories), "bytes/item")
            yield row(case, "error", _error(store, images, 64), "MobileNetV2 distance", repeats=64)
            reads, rng = [], np.random.default_rng(1)
            for _ in range(100):
                ids = [memories[i].id for i in rng.choice(len(memories), READ, replace=False)]
                began = time.perf_counter()
                store.read_images(ids)
                reads.append((time.perf_counter() - began) * 1e3)
            middle, spread = _quartiles(reads)
            yield row(f"{case}: read 8", "time", middle, "ms/batch", repeats=100, spread=spread)
    for budget in (64 * 1024, 1024 * 1024):
        path = folder / f"overhead-{budget}.everface"
        choice = CodecChoice("avif", 40, 0)
        with ReplayStore.create(path, budget_bytes=budget, config_json=CONFIG, choice=choice) as store:
            fill(store, faces(1200 if budget > 1e5 else 80, 128), 20)
            items = store._content.items
            payload = sum(item.image_bytes + len(item.code) for item in items)
            over = store.state.file_bytes - payload
        yield row(f"overhead at {budget // 1024} KiB, {len(items)} memories of 128 px", "overhead", over, "bytes")
        yield row(f"overhead at {budget // 1024} KiB", "overhead", over / payload, "of image and latent bytes")


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
    kills = kill_updates(folder, 1000 if full else 40)
    yield row(
        f"{kills.kills} kills over {kills.updates} updates", "losses", len(kills.losses), "losses", repeats=kills.kills
    )
    files = malformed_reads(folder, 100_000 if full else 2000)
    yield row(f"{files.files} malformed files", "wrong", len(files.wrong), "files", repeats=files.files)
    yield row(f"{files.files} malformed files", "refused", files.refused, "files", repeats=files.files)
    yield row(f"{files.files} malformed files", "read correctly", files.correct, "files", repeats=files.files)
    try:
        from everface.bench.torture.power import fail_writes, lose_power
    except ImportError as error:
        yield row(f"peer apsw missing: {error}", "missing", 1, "peers", peer="apsw")
        return
    power = lose_power(folder, 3000 if full else 150)
    yield row(f"{power.cases} power losses", "losses", len(power.losses), "losses", repeats=power.cases)
    disk = fail_writes(folder, 1000 if full else 60)
    yield row(f"{disk.cases} failing writes and syncs", "losses", len(disk.losses), "losses", repeats=disk.cases)


def measure(full: bool, on_progress: OnProgress = ignore_progress) -> list[Row]:
    """All rows."""
    sections: list[Callable[[Path], Iterator[Row]]] = [
        lambda _: codec_rows(), lambda folder: rate_rows(folder, full), lambda folder: capacity_rows(folder, full),
        lambda folder: survival_rows(folder, full),
    ]  # fmt: skip
    reporter, rows = ProgressReporter("store", len(sections), on_progress), []
    for section in sections:
        with tempfile.TemporaryDirectory() as folder:
            rows += list(section(Path(folder)))
        reporter.advance()
    return rows
