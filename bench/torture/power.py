"""Power lost in the middle of updates, full disks and short writes, by way of :mod:`.disk`."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from everface.bench.torture.album import CONFIG, Album
from everface.bench.torture.disk import Disk
from everface.engine.errors import EverfaceError, IntegrityError, WorkspaceError
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress
from everface.engine.replay.check import check_workspace
from everface.engine.replay.store import DATABASE, ReplayStore

__all__ = ["DiskResult", "fail_writes", "lose_power"]


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


def _files(path: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in path.iterdir() if one.name.startswith(DATABASE)}


def lose_power(folder: Path, cases: int, seed: int = 0, on_progress: OnProgress = ignore_progress) -> DiskResult:
    """Records every operation of updates, then builds files as a crash at any point could leave them, and opens them.

    A crash keeps all that was synced; of the rest each write is kept, dropped or torn, in any order.
    """
    path, album, rng = folder / "power.everface", Album(), np.random.default_rng(seed)
    ReplayStore.create(path, budget_bytes=24 * 1024, config_json=CONFIG).close()
    disk = Disk(f"power-{seed}-{id(path)}")
    reporter, losses, before, done = ProgressReporter("power", cases, on_progress), [], 0, 0
    updates = max(4, min(30, cases // 8))
    for number in range(updates):
        start = _files(path)
        disk.log.clear()
        with ReplayStore.open(path, connect=disk.connect) as store:
            album.update(store)
            operations = len(disk.log)  # what comes later is after the acknowledgement
        critical = next(i for i, one in enumerate(disk.log) if one.name == DATABASE and one.kind == "write")
        for _ in range(cases // updates + (number < cases % updates)):
            upto = int(rng.integers(critical if rng.random() < 0.6 else 0, operations + 1))
            try:
                found = _reopened(folder / "crashed.everface", path, album, disk.crash(start, upto, rng))
                before += found == number
                if found not in (number, number + 1) or (upto == operations and found == number):
                    losses.append(f"update {number}, operation {upto} of {operations}: {found} updates")
            except EverfaceError as error:
                losses.append(f"update {number}, operation {upto} of {operations}: {error}")
            done += 1
            reporter.advance()
    disk.unregister()
    return DiskResult(done, before, done - before - len(losses), tuple(losses))


def _reopened(target: Path, source: Path, album: Album, files: dict[str, bytes]) -> int:
    """Opens a workspace made of these files, verifies and checks it; returns its updates."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(f"{DATABASE}*"))
    for name, data in files.items():
        (target / name).write_bytes(data)
    with ReplayStore.open(target) as store:
        album.verify(store)
        updates = store.state.timestamps
    report = check_workspace(target)
    if not report.ok:
        raise IntegrityError("check", found="; ".join(report.problems))
    return updates


def fail_writes(folder: Path, cases: int, seed: int = 0, on_progress: OnProgress = ignore_progress) -> DiskResult:
    """Lets the n-th write or sync of an update fail, with a full disk, an error, or half of it written.

    The update must say so, the state before must be there, and the next update must succeed.
    """
    import apsw

    path, album, rng = folder / "full.everface", Album(), np.random.default_rng(seed)
    ReplayStore.create(path, budget_bytes=24 * 1024, config_json=CONFIG).close()
    disk = Disk(f"full-{seed}-{id(path)}")
    reporter, losses, before, after = ProgressReporter("full", cases, on_progress), [], 0, 0
    for number in range(cases):
        try:
            with ReplayStore.open(path, connect=disk.connect) as store:
                updates = store.state.timestamps
                disk.failure = apsw.FullError if rng.random() < 0.6 else apsw.IOError
                disk.short, disk.writes_left = bool(rng.random() < 0.5), int(rng.integers(0, 200))
                try:
                    album.update(store)
                    after += 1
                    updates += 1
                except IntegrityError as error:  # a full disk is no damage, and must not be called so
                    losses.append(f"case {number}: {error}")
                except WorkspaceError:
                    before += 1
                    disk.writes_left = None
                    # Where the very last write failed, the update may be there all the same; never half of it.
                    if store.state.timestamps not in (updates, updates + 1):
                        losses.append(f"case {number}: {store.state.timestamps} updates after {updates}")
                    updates = store.state.timestamps
                disk.writes_left = None
                if number % 2:
                    album.update(store)  # the same open store goes on
                    updates += 1
            with ReplayStore.open(path) as store:
                album.verify(store)
                if store.state.timestamps != updates:
                    losses.append(f"case {number}: {store.state.timestamps} updates, not {updates}")
            report = check_workspace(path)
            losses += [f"case {number}: {one}" for one in report.problems]
        except EverfaceError as error:
            losses.append(f"case {number}: {error}")
            disk.writes_left = None
        reporter.advance()
    disk.unregister()
    return DiskResult(cases, before, after, tuple(losses))
