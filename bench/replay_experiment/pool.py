"""Runs cells in processes of this machine or on a Ray cluster: the same cells, one file each, resumable."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from everface.bench.replay_experiment.cells import Cell, Lab, run_cell
from everface.bench.replay_experiment.encode import Settings
from everface.bench.replay_experiment.people import Person
from everface.engine.errors import MissingBackendError
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress

Task = tuple[Person, Cell]


@dataclass(frozen=True)
class Where:
    """Where cells run and what they leave.

    Attributes:
        folder: for the results, a JSON file a cell, and for the aligned photos of real people: the user's own, never
            part of a repository.
        judge: a MobileFaceNet in ONNX, None for the packaged embedder.
        processes: on this machine.
        cluster: run on Ray instead, at its default address.
        deadline: time.time() after which no further cell starts, None for none.
    """

    folder: Path
    judge: Path | None = None
    processes: int = 1
    cluster: bool = False
    deadline: float | None = None

    @property
    def cache(self) -> Path:
        """What methods share."""
        return self.folder / "cache"


def read_cell(folder: Path, cell: Cell, settings: Settings) -> dict[str, Any] | None:
    """A cell's numbers, None where it has not run with these settings."""
    path = folder / cell.file
    if not path.is_file():
        return None
    numbers: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return numbers if numbers.get("settings") == settings.key() else None


def run_cells(
    cells: Sequence[Task], settings: Settings, where: Where, on_progress: OnProgress = ignore_progress
) -> int:
    """Runs the cells that have no result yet, in order; returns how many of all have one afterwards.

    Args:
        cells: with their photos.
        settings: of all.
        where: see there.
        on_progress: hears the stage ``"cells"``.

    Raises:
        MissingBackendError: a cluster is asked for and Ray is not installed.
    """
    where.folder.mkdir(parents=True, exist_ok=True)
    left = [task for task in cells if read_cell(where.folder, task[1], settings) is None]
    reporter = ProgressReporter("cells", len(cells), on_progress)
    reporter.resume_at(len(cells) - len(left))
    done = len(cells) - len(left)
    work = partial(_work, settings, where)
    with _processes(where) as pool:
        for cell, numbers in pool.imap_unordered(work, left) if pool else map(work, left):
            if numbers is not None:
                _keep(where.folder / cell.file, numbers)
                reporter.advance(1)
                done += 1
    return done


@contextmanager
def _processes(where: Where) -> Iterator[Any]:
    """A pool of processes, on this machine or on Ray; None where one is enough."""
    if where.cluster:
        try:
            from ray.util.multiprocessing import Pool
        except ImportError as error:
            remedy = "pip install 'everface[cluster]'"
            raise MissingBackendError("--cluster", expected="the package ray", found="none", remedy=remedy) from error
        with Pool(initializer=_quiet) as pool:
            yield pool
    elif where.processes > 1:
        with multiprocessing.get_context("spawn").Pool(where.processes, _quiet) as local:
            yield local
    else:
        yield None


def _keep(path: Path, numbers: dict[str, Any]) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False, encoding="utf-8") as held:
        json.dump(numbers, held)
    Path(held.name).replace(path)


@cache
def _lab(settings: Settings, judge: Path | None, folder: Path) -> Lab:
    """One a process."""
    return Lab(settings, judge, folder)


def _quiet() -> None:
    """One thread a process: more would only wait for each other."""
    import torch

    from everface import _native

    torch.set_num_threads(1)
    _native.set_threads(1)


def _work(settings: Settings, where: Where, task: Task) -> tuple[Cell, dict[str, Any] | None]:
    """A cell's result; None once the deadline has passed. A node of a cluster has folder and judge of its own."""
    (person, cell), judge, folder = task, where.judge, where.cache
    if where.deadline is not None and time.time() > where.deadline:
        return cell, None
    if where.cluster:
        folder = Path(tempfile.gettempdir()) / f"everface-replay-{os.getuid()}"
        judge = judge if judge is not None and judge.is_file() else None
    return cell, run_cell(_lab(settings, judge, folder), person, cell)
