"""SIGKILL at random moments of updates: nothing committed may be lost, nothing half-written may be seen."""

from __future__ import annotations

import os
import random
import signal
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from everface.bench.torture.album import CONFIG, Album, forked
from everface.engine.errors import EverfaceError
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress
from everface.engine.replay.check import check_workspace
from everface.engine.replay.store import Key, ReplayStore, ScryptCost


@dataclass(frozen=True)
class KillResult:
    """What killing did.

    Attributes:
        kills: processes killed in the middle of updates.
        updates: updates committed in all.
        unacknowledged: kills after which an update was there that had not yet been reported as done.
        losses: what was lost or wrong, one line each.
    """

    kills: int
    updates: int
    unacknowledged: int
    losses: tuple[str, ...]


def kill_updates(
    folder: Path, kills: int, seed: int = 0, budget_bytes: int = 48 * 1024, on_progress: OnProgress = ignore_progress,
    key: Key | None = None,
) -> KillResult:  # fmt: skip
    """Starts a process that updates without end, kills it within the time of three updates, verifies, and so on."""
    path = folder / "kill.everface"
    album, rng = Album(), random.Random(seed)
    cost = ScryptCost(2**10, 8, 1)
    with ReplayStore.create(path, budget_bytes=budget_bytes, config_json=CONFIG, key=key, cost=cost) as store:
        album.update(store)
        started = time.monotonic()
        for _ in range(4):
            album.update(store)
        usual, done = (time.monotonic() - started) / 4, 5
    reporter = ProgressReporter("kill", kills, on_progress)
    losses: list[str] = []
    unacknowledged = 0
    for number in range(kills):
        acknowledged = max(done, _killed_after(path, album, rng.uniform(0, 3 * usual), key))
        try:
            with ReplayStore.open(path, key=key) as store:
                album.verify(store)
                done = store.state.timestamps
                store.models.sweep({store.state.model})
            size = next(path.glob("memory.*")).stat().st_size
            if done not in (acknowledged, acknowledged + 1) or size > budget_bytes:
                losses.append(f"kill {number}: {done} updates of {acknowledged} acknowledged, {size} bytes")
            report = check_workspace(path, key=key)
            losses += [f"kill {number}: {problem}" for problem in report.problems]
        except EverfaceError as error:
            losses.append(f"kill {number}: {error}")
        unacknowledged += done > acknowledged
        reporter.advance()
    return KillResult(kills, done, unacknowledged, tuple(losses))


def _killed_after(path: Path, album: Album, seconds: float, key: Key | None) -> int:
    """Forks a writer and kills it; returns the updates that it had acknowledged, 0 if none."""
    reading, writing = os.pipe()
    child = forked()
    if child == 0:
        # Whatever happens, the child must not return into the caller's program.
        try:
            with ReplayStore.open(path, key=key) as store:
                os.write(writing, struct.pack("<I", store.state.timestamps))
                while True:
                    album.update(store)
                    os.write(writing, struct.pack("<I", store.state.timestamps))
        finally:
            os._exit(1)
    os.close(writing)
    opened = os.read(reading, 4)  # the store is open
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while part := os.read(reading, 4096):
        opened += part
    os.close(reading)
    return int(struct.unpack_from("<I", opened, len(opened) - 4)[0]) if len(opened) >= 4 else 0
