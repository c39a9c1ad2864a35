"""Runs cells in processes of this machine or on a Ray cluster: the same cells, one file each, resumable."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from everface.bench.replay_experiment.cells import Cell, CellResult, Lab, run_cell
from everface.bench.replay_experiment.encode import Settings
from everface.bench.replay_experiment.people import Person, save_arrays
from everface.engine.errors import MissingBackendError
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress


@dataclass(frozen=True)
class Where:
    """Where cells run and what they leave.

    Attributes:
        folder: for the results, a JSON file a cell, and pictures beside it. They show real people: the folder is the
            user's own, never part of a repository.
        judge: a MobileFaceNet in ONNX, None for the packaged embedder.
        processes: on this machine.
        cluster: run on Ray instead, at its default address.
        deadline: time.monotonic() after which no further cell starts, None for none.
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
    cells: Sequence[tuple[Person, Cell]], settings: Settings, where: Where, on_progress: OnProgress = ignore_progress
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
    left = [(person, cell) for person, cell in cells if read_cell(where.folder, cell, settings) is None]
    reporter = ProgressReporter("cells", len(cells), on_progress)
    reporter.resume_at(len(cells) - len(left))
    done = len(cells) - len(left)
    if not left:
        return done
    for cell, result in (_on_ray if where.cluster else _here)(left, settings, where):
        _keep(where.folder, cell, result)
        reporter.advance(1)
        done += 1
    return done


def _keep(folder: Path, cell: Cell, result: CellResult) -> None:
    path = folder / cell.file
    save_arrays(path.with_suffix(".npz"), photos=result.photos, pictures=result.pictures)
    with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".part", delete=False, encoding="utf-8") as held:
        json.dump(result.numbers, held)
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


def _work(person: Person, cell: Cell, settings: Settings, judge: Path | None, folder: Path) -> CellResult:
    return run_cell(_lab(settings, judge, folder), person, cell)


Task = tuple[Person, Cell]


def _here(left: Sequence[Task], settings: Settings, where: Where) -> Iterator[tuple[Cell, CellResult]]:
    if where.processes <= 1:
        for person, cell in left:
            if not _late(where):
                yield cell, _work(person, cell, settings, where.judge, where.cache)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(where.processes, len(left)), context, _quiet) as pool:

        def submit(task: Task) -> Future[CellResult]:
            return pool.submit(_work, *task, settings, where.judge, where.cache)

        yield from _fed(left, where, submit)


def _fed(
    left: Sequence[Task], where: Where, submit: Callable[[Task], Future[CellResult]]
) -> Iterator[tuple[Cell, CellResult]]:
    """Keeps every process busy, and starts no cell after the deadline."""
    waiting, running = list(left), dict[Future[CellResult], Cell]()
    while waiting or running:
        while waiting and len(running) < where.processes and not _late(where):
            task = waiting.pop(0)
            running[submit(task)] = task[1]
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future.result()


def _late(where: Where) -> bool:
    return where.deadline is not None and time.monotonic() > where.deadline


def _on_ray(left: Sequence[Task], settings: Settings, where: Where) -> Iterator[tuple[Cell, CellResult]]:
    """Tasks of one core each. Photos travel with them; each node caches what methods share in its own folder."""
    try:
        import ray
    except ImportError as error:
        remedy = "pip install 'everface[cluster]'"
        raise MissingBackendError("--cluster", expected="the package ray", found="none", remedy=remedy) from error
    judge = None if where.judge is None else where.judge.resolve()
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    people = {name: ray.put(person) for name, person in {person.name: person for person, _ in left}.items()}
    remote = ray.remote(num_cpus=1)(_on_node)
    running = {remote.remote(people[person.name], cell, settings, judge): cell for person, cell in left}
    while running:
        ready, _ = ray.wait(list(running), num_returns=1, timeout=5.0)
        for pending in ready:
            yield running.pop(pending), ray.get(pending)
        if _late(where):
            for pending in running:
                ray.cancel(pending)
            return


def _on_node(person: Person, cell: Cell, settings: Settings, judge: Path | None) -> CellResult:
    _quiet()
    folder = Path(tempfile.gettempdir()) / f"everface-replay-{os.getuid()}"
    return _work(person, cell, settings, judge if judge is not None and judge.is_file() else None, folder)


def pictures_of(folder: Path, cell: Cell) -> tuple[np.ndarray, np.ndarray] | None:
    """Held-out photos of the first timestamp and their last reconstructions, None where there are none."""
    path = (folder / cell.file).with_suffix(".npz")
    if not path.is_file():
        return None
    with np.load(path) as arrays:
        return arrays["photos"], arrays["pictures"]
