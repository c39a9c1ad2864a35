"""The paper's experiment: does the model remember? All methods on people's timelines, tables, curves and a page.

``everface bench replay [--full] [--preset laptop]`` or ``python -m everface.bench.replay``, which has more options.
Every cell (person, seed, method, buffer) is a file in the run folder: an interrupted run goes on where it was, locally
or on a Ray cluster, and tables are made of what is there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from everface.bench.common import BenchResult, machine, write_json
from everface.bench.progress import PlainProgress
from everface.bench.replay_experiment.cells import Cell
from everface.bench.replay_experiment.encode import Settings
from everface.bench.replay_experiment.features import missing_packages
from everface.bench.replay_experiment.methods import Method, needs_no_buffer
from everface.bench.replay_experiment.page import write_page
from everface.bench.replay_experiment.people import aligned, names_in
from everface.bench.replay_experiment.plots import plot_curves, plot_matrices
from everface.bench.replay_experiment.pool import Where, read_cell, run_cells
from everface.bench.replay_experiment.tables import PUBLISHED, Results, gather, markdown, rows_of
from everface.engine.config import EngineConfig, InvertConfig, TuneConfig
from everface.engine.errors import NothingToDoError, UsageError
from everface.engine.learn.backend import open_backend
from everface.engine.progress import OnProgress, ignore_progress

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
"""Development data beside a checkout; the experiment runs without it."""
PAPER = ("er-hull@b=3", "lower@-", "er-rand@b=3", "upper@-")
OURS = ("er-hull-exact@3png", "er-hull-exact/distil@b=3")


@dataclass(frozen=True)
class Preset:
    """How much is run.

    Attributes:
        people: how many, those with the most photos.
        seeds: how many.
        methods: ``method@buffer``, in the order in which they run.
        settings: of all.
    """

    people: int
    seeds: int
    methods: tuple[str, ...]
    settings: Settings


PAPER_EVALUATION = InvertConfig(800, 5e-3, 25)
QUICK = Settings(
    timestamps=4, train=8, test=3, invert=InvertConfig(20, 0.1, 12),
    tune=TuneConfig(max_steps=50, learning_rate=8e-3, settle_window=0),
    evaluate=InvertConfig(8, 0.05, 16), samples=6,
)  # fmt: skip
PRESETS = {
    "default": Preset(1, 1, (*PAPER, *OURS), QUICK),
    "laptop": Preset(1, 1, (*PAPER, *OURS, "er-hull-exact/distil@3png", "kmeans@b=3"), Settings(timestamps=8)),
    "full": Preset(
        7, 3,
        (
            *PAPER, *OURS, "cumulative@-", "er-hull@3png", "er-rand@3png", "er-hull-exact/distil@3png",
            "budgeted/distil@3png", "budgeted@3png",
            "er-hull-exact@b=3", "lower/distil@3png",
            "forgotten@b=3", "er-hull/by-loss@b=3", "support@b=3", "kmeans@b=3",
            *(f"{one}@b={b}" for b in (5, 10) for one in ("er-rand", "er-hull", "er-hull-exact/distil")),
            *(f"{one}@{size}KiB" for size in (16, 64, 256) for one in ("er-rand", "er-hull", "er-hull-exact/distil")),
        ),
        Settings(),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What the command line says beside the preset."""

    preset: Preset
    folder: Path
    albums: Path | None
    judge: Path | None
    people: tuple[str, ...] = ()
    processes: int = 1
    cluster: bool = False
    minutes: float | None = None


def cells_of(people: Sequence[str], seeds: int, methods: Sequence[str]) -> tuple[Cell, ...]:
    """All cells: every method of a person before the next person, every person of a seed before the next seed.

    Raises:
        UsageError: a method that is not ``NAME@BUFFER``.
    """
    found = []
    for seed in range(seeds):
        for person in people:
            for one in methods:
                name, _, buffer = one.partition("@")
                Method.of(name)
                if not buffer or (needs_no_buffer(name) != (buffer == "-")):
                    expected = "NAME@b=3, NAME@3png or NAME@64KiB; lower@-, upper@- and cumulative@-"
                    raise UsageError("--methods", expected=expected, found=one, remedy="name a buffer")
                found.append(Cell(person, seed, name, buffer))
    return tuple(found)


def run_experiment(options: Options, on_progress: OnProgress = ignore_progress) -> tuple[Cell, ...]:
    """Runs what is left to run; returns all cells of the preset, measured or not."""
    preset = options.preset
    names = options.people or names_in(options.albums)[: preset.people]
    cells = cells_of(names, preset.seeds, preset.methods)
    deadline = None if options.minutes is None else time.monotonic() + 60 * options.minutes
    if options.minutes == 0.0:
        return cells  # nothing may start, so no photo need be aligned
    where = Where(options.folder, options.judge, options.processes, options.cluster, deadline)
    config = EngineConfig(base=preset.settings.base)
    side = open_backend(config).shape.resolution
    people = {name: aligned(options.albums, name, config.photo, side, where.cache, on_progress) for name in names}
    run_cells([(people[cell.person], cell) for cell in cells], preset.settings, where, on_progress)
    return cells


def results_of(cells: Sequence[Cell], folder: Path, settings: Settings) -> Results:
    """Numbers of the cells that have run.

    Raises:
        NothingToDoError: none has.
    """
    numbers = {cell: read for cell in cells if (read := read_cell(folder, cell, settings)) is not None}
    if not numbers:
        remedy = "run without --tables, or with more --minutes"
        raise NothingToDoError("replay", expected="at least one finished cell", found="none", remedy=remedy)
    return gather(numbers)


def write_tables(results: Results, cells: Sequence[Cell], folder: Path) -> str:
    """Writes the table, the plots and the page into the run folder; returns the table."""
    text = markdown(results)
    (folder / "table.md").write_text(text, encoding="utf-8")
    shown = [label for label in dict.fromkeys((*PUBLISHED, *OURS, "cumulative@-")) if label in results.scores]
    plots = folder / "curves.png", folder / "matrices.png"
    plot_curves(results, shown, plots[0])
    plot_matrices(results, shown, plots[1])
    write_page(results, [cell for cell in cells if cell in results.numbers], folder, plots)
    return text


def result_of(results: Results, settings: Settings) -> BenchResult:
    """All rows, with what was run on which timelines."""
    spreads = {f"{cell.person} {cell.seed}": one["spread"] for cell, one in results.numbers.items()}
    sizes = {cell.person: [one["timestamps"], one["train"], one["test"]] for cell, one in results.numbers.items()}
    judges = sorted({one["judge"] for one in results.numbers.values()})
    about = {"settings": asdict(settings), "judges": judges, "timelines": sizes, "appearance_spread": spreads}
    missing = tuple(f"{one} (independent perceptual features)" for one in missing_packages())
    return BenchResult("replay", rows_of(results), {**machine(), "commit": _commit(), **about}, missing)


def _commit() -> str:
    """Of the checkout, with a plus where files differ from it; ``"none"`` outside of one."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), "describe", "--always", "--dirty=+", "--abbrev=12"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "none"
    return found.stdout.strip()


def run(full: bool, on_progress: OnProgress = ignore_progress, preset: str | None = None) -> BenchResult:
    """``everface bench replay``: runs in ``replay-out``, where cells, tables, plots and the page stay.

    Args:
        full: the same as the preset ``"full"``.
        on_progress: hears the stages ``"photos"`` and ``"cells"``.
        preset: a name of ``PRESETS``.

    Raises:
        UsageError: no such preset.
    """
    name = preset or ("full" if full else "default")
    if name not in PRESETS:
        raise UsageError("--preset", expected=" or ".join(PRESETS), found=repr(name), remedy="choose one of these")
    albums, judge = _shared("data/albums.zip"), _shared("models/mobilefacenet.onnx")
    options = Options(PRESETS[name], Path("replay-out") / name, albums, judge, processes=_cores())
    cells = run_experiment(options, on_progress)
    settings = options.preset.settings
    results = results_of(cells, options.folder, settings)
    write_tables(results, cells, options.folder)
    return result_of(results, settings)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _options(arguments: Sequence[str] | None) -> tuple[Options, argparse.Namespace]:
    parser = argparse.ArgumentParser(prog="python -m everface.bench.replay", description=__doc__)
    parser.add_argument("--preset", choices=tuple(PRESETS), default="default")
    parser.add_argument("--full", action="store_true", help="the same as --preset full")
    parser.add_argument("--out", type=Path, default=Path("replay-out"), help="run folder; it will hold pictures")
    parser.add_argument("--albums", type=Path, help="a zip or folder of folders of photos, one a person")
    parser.add_argument("--judge", type=Path, help="a MobileFaceNet in ONNX; the packaged embedder where left out")
    parser.add_argument("--people", help="names, with commas; those with the most photos where left out")
    parser.add_argument("--methods", help="method@buffer, with commas")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--processes", type=int, default=_cores())
    parser.add_argument("--cluster", action="store_true", help="run on Ray instead of local processes")
    parser.add_argument("--minutes", type=float, help="start no further cell after this long")
    parser.add_argument("--doubled", action="store_true", help="the paper's batches: replay comes on top")
    parser.add_argument(
        "--paper-evaluation", action="store_true", help="the paper's 800 steps of search for each held-out photo"
    )
    parser.add_argument("--tables", action="store_true", help="run nothing, make tables of what is there")
    parser.add_argument("--json", type=Path, help="file for the rows")
    chosen = parser.parse_args(arguments)
    preset = PRESETS["full" if chosen.full else chosen.preset]
    if chosen.methods:
        preset = replace(preset, methods=tuple(chosen.methods.split(",")))
    if chosen.seeds is not None:
        preset = replace(preset, seeds=chosen.seeds)
    if chosen.doubled:
        preset = replace(preset, settings=replace(preset.settings, doubled=True))
    if chosen.paper_evaluation:
        preset = replace(preset, settings=replace(preset.settings, evaluate=PAPER_EVALUATION))
    people = tuple(chosen.people.split(",")) if chosen.people else ()
    minutes = 0.0 if chosen.tables else chosen.minutes
    albums, judge = chosen.albums or _shared("data/albums.zip"), chosen.judge or _shared("models/mobilefacenet.onnx")
    return Options(preset, chosen.out, albums, judge, people, chosen.processes, chosen.cluster, minutes), chosen


def _shared(name: str) -> Path | None:
    path = SHARED / name
    return path if path.is_file() else None


def main(arguments: Sequence[str] | None = None, say: Callable[[str], object] = sys.stdout.write) -> None:
    """``python -m everface.bench.replay``."""
    options, chosen = _options(arguments)
    settings = options.preset.settings
    cells = run_experiment(options, PlainProgress())
    results = results_of(cells, options.folder, settings)
    say(write_tables(results, cells, options.folder))
    say(f"{len(results.numbers)} of {len(cells)} cells; report: {options.folder / 'report.html'}\n")
    if chosen.json is not None:
        write_json(result_of(results, settings), chosen.json)


if __name__ == "__main__":
    main()
