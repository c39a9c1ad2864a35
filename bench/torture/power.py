"""Power lost in the middle of updates, full disks and short writes, by way of ``.disk``."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from everface.bench.torture.album import CONFIG, Album
from everface.bench.torture.disk import FailingDisk, PowerDisk
from everface.engine.errors import EverfaceError, IntegrityError, WorkspaceError
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress
from everface.engine.replay.check import check_workspace
from everface.engine.replay.store import ReplayStore


@dataclass(frozen=True)
class DiskResult:
    """What a failing disk did.

    Attributes:
        cases: crashes or failures tried.
        before: those after which the state before the update was there.
        after: those after which the update was there.
        losses: what was lost or wrong, one line each.
    """

    cases: int
    before: int
    after: int
    losses: tuple[str, ...]


def lose_power(folder: Path, cases: int, seed: int = 0, on_progress: OnProgress = ignore_progress) -> DiskResult:
    """Loses power at a random operation of an update or of the wipe after it, and opens what a disk could then hold."""
    path, album, rng = folder / "power.everface", Album(), np.random.default_rng(seed)
    with ReplayStore.create(path, budget_bytes=24 * 1024, config_json=CONFIG) as store:
        album.update(store)
    reporter, losses, before = ProgressReporter("power", cases, on_progress), list[str](), 0
    operations = 12
    for number in range(cases):
        crash_at = int(rng.integers(operations + 1))
        disk = PowerDisk(path, crash_at, rng)
        with ReplayStore.open(path, disk=disk) as store:
            updates = store.state.timestamps
            album.update(store)
        operations = disk.operations
        try:
            found = _reopened(folder / "crashed.everface", path, album, disk.crashed) if disk.crashed else updates + 1
            before += found == updates
            if found not in (updates, updates + 1):
                losses.append(f"case {number}, operation {crash_at} of {operations}: {found} updates after {updates}")
        except EverfaceError as error:
            losses.append(f"case {number}, operation {crash_at} of {operations}: {error}")
        reporter.advance()
    return DiskResult(cases, before, cases - before - len(losses), tuple(losses))


def _reopened(target: Path, source: Path, album: Album, files: Mapping[Path, bytes]) -> int:
    """Opens a workspace made of these files, verifies, checks and updates it; returns the updates that it had."""
    shutil.rmtree(target, ignore_errors=True)
    (target / "models").mkdir(parents=True)
    for path, data in files.items():
        (target / path.relative_to(source)).write_bytes(data)
    with ReplayStore.open(target, readonly=True) as store:
        album.verify(store)
    with ReplayStore.open(target) as store:
        album.verify(store)
        updates = store.state.timestamps
    report = check_workspace(target)
    if not report.ok or any("memory" in problem for problem in report.notices):
        raise IntegrityError("check", found="; ".join([*report.problems, *report.notices]))
    with ReplayStore.open(target) as store:
        album.update(store)
        album.verify(store)
    return updates


def fail_writes(folder: Path, cases: int, seed: int = 0, on_progress: OnProgress = ignore_progress) -> DiskResult:
    """Lets the n-th operation of an update fail, with a full disk or an error, half of it written.

    The update must say so, the state before must be there, and the next update must succeed.
    """
    path, album, rng = folder / "full.everface", Album(), np.random.default_rng(seed)
    ReplayStore.create(path, budget_bytes=24 * 1024, config_json=CONFIG).close()
    reporter, losses, before, after = ProgressReporter("full", cases, on_progress), list[str](), 0, 0
    for number in range(cases):
        disk = FailingDisk(errno.ENOSPC if rng.random() < 0.6 else errno.EIO)
        try:
            with ReplayStore.open(path, disk=disk) as store:
                updates = store.state.timestamps
                disk.left = int(rng.integers(0, 14))
                try:
                    album.update(store)
                    after, updates = after + 1, updates + 1
                except IntegrityError as error:  # a full disk is no damage, and must not be called so
                    losses.append(f"case {number}: {error}")
                except WorkspaceError:
                    before += 1
                    # Where the very last sync failed, the update may be there all the same; never half of it.
                    if store.state.timestamps not in (updates, updates + 1):
                        losses.append(f"case {number}: {store.state.timestamps} updates after {updates}")
                    updates = store.state.timestamps
                disk.left = None
                if number % 2:
                    album.update(store)  # the same open store goes on
                    updates += 1
            with ReplayStore.open(path) as store:
                album.verify(store)
                if store.state.timestamps != updates:
                    losses.append(f"case {number}: {store.state.timestamps} updates, not {updates}")
            losses += [f"case {number}: {problem}" for problem in check_workspace(path).problems]
        except EverfaceError as error:
            losses.append(f"case {number}: {error}")
        reporter.advance()
    return DiskResult(cases, before, after, tuple(losses))
