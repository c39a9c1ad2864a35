"""The paper's experiment: does the model remember? All methods on people's timelines, rows and curves.

Every cell (person, seed, method, buffer) is a file in the run folder: an interrupted run goes on where it was, locally
or on a Ray cluster, and rows are made of what is there. In 3D, each photo is seen from its own camera.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from cyclopts import Parameter

from everface.bench.common import BenchResult, Full, Listen, cores, missing_rows
from everface.bench.features import PACKAGES
from everface.bench.replay_experiment.cells import Cell
from everface.bench.replay_experiment.encode import Settings
from everface.bench.replay_experiment.methods import Method, needs_no_buffer
from everface.bench.replay_experiment.people import aligned, names_in
from everface.bench.replay_experiment.plots import plot_curves, plot_matrices
from everface.bench.replay_experiment.pool import Where, read_cell, run_cells
from everface.bench.replay_experiment.tables import Results, gather, rows_of
from everface.engine.config import InvertConfig, TuneConfig
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
POSED = Settings(
    "base3d", "3d", 3, 4, 2, 128, InvertConfig(20, 0.1, 9),
    TuneConfig(max_steps=40, learning_rate=5e-3, settle_window=0), True, InvertConfig(6, 0.05, 9), 8,
)  # fmt: skip
_3D = ("base@-", *PAPER, "er-hull-exact@b=3")
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
    "3d": Preset(1, 1, _3D, POSED),
    "3d-full": Preset(4, 2, _3D, replace(POSED, train=6, test=3, tune=replace(POSED.tune, max_steps=150))),
}  # fmt: skip


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What is run, and where.

    Attributes:
        preset: how much; ``laptop`` ends within half an hour.
        out: run folder; it will hold aligned photos. ``replay-out/PRESET`` by default.
        albums: a zip or folder of folders of photos, one a person; the embedded album where there is none.
        judge: a MobileFaceNet in ONNX; the packaged embedder where there is none.
        people: names; those with the most photos where left out.
        methods: ``method@buffer``; the preset's where left out.
        seeds: how many.
        processes: on this machine.
        cluster: run on Ray instead of local processes.
        minutes: start no further cell after this long; 0 makes rows of what is there.
        doubled: the paper's batches: replay comes on top.
        paper_evaluation: the paper's 800 steps of search for each held-out photo.
    """

    preset: Literal["default", "laptop", "full", "3d", "3d-full"] = "default"
    out: Path | None = None
    albums: Path | None = None
    judge: Path | None = None
    people: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: int | None = None
    processes: int = cores()
    cluster: bool = False
    minutes: float | None = None
    doubled: bool = False
    paper_evaluation: bool = False

    @property
    def plan(self) -> Preset:
        """The preset, with what was asked for instead."""
        plan = PRESETS[self.preset]
        settings = replace(plan.settings, doubled=self.doubled or plan.settings.doubled)
        if self.paper_evaluation:
            settings = replace(settings, evaluate=PAPER_EVALUATION)
        return Preset(plan.people, self.seeds or plan.seeds, self.methods or plan.methods, settings)

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.out or Path("replay-out") / self.preset


def cells_of(people: Sequence[str], seeds: int, methods: Sequence[str]) -> tuple[Cell, ...]:
    """All cells: every method of a person before the next person, every person of a seed before the next seed.

    Raises:
        UsageError: a method that is not ``NAME@BUFFER``.
    """
    pairs = []
    for one in methods:
        name, _, buffer = one.partition("@")
        Method.of(name)
        if not buffer or (needs_no_buffer(name) != (buffer == "-")):
            expected = "NAME@b=3, NAME@3png or NAME@64KiB; lower@-, upper@-, cumulative@- and base@-"
            raise UsageError("--methods", expected=expected, found=one, remedy="name a buffer")
        pairs.append((name, buffer))
    return tuple(Cell(person, seed, *pair) for seed in range(seeds) for person in people for pair in pairs)


def run_experiment(options: Options, on_progress: OnProgress = ignore_progress) -> tuple[Cell, ...]:
    """Runs what is left to run; returns all cells of the preset, measured or not."""
    plan, albums = options.plan, options.albums or _shared("data/albums.zip")
    names = options.people or names_in(albums)[: plan.people]
    cells = cells_of(names, plan.seeds, plan.methods)
    if options.minutes == 0.0:
        return cells  # nothing may start, so no photo need be aligned
    deadline = None if options.minutes is None else time.time() + 60 * options.minutes
    judge = options.judge or _shared("models/mobilefacenet.onnx")
    where = Where(options.folder, judge, options.processes, options.cluster, deadline)
    config = plan.settings.engine
    side = open_backend(config).shape.resolution
    people = {name: aligned(albums, name, config.photo, side, where.cache, on_progress) for name in names}
    run_cells([(people[cell.person], cell) for cell in cells], plan.settings, where, on_progress)
    return cells


def results_of(cells: Sequence[Cell], folder: Path, settings: Settings) -> Results:
    """Numbers of the cells that have run.

    Raises:
        NothingToDoError: none has.
    """
    numbers = {cell: read for cell in cells if (read := read_cell(folder, cell, settings)) is not None}
    if not numbers:
        remedy = "run with more --minutes"
        raise NothingToDoError("replay", expected="at least one finished cell", found="none", remedy=remedy)
    return gather(numbers)


def write_plots(results: Results, folder: Path) -> None:
    """Writes the plots into the run folder."""
    shown = [label for label in (*PAPER, *OURS, "cumulative@-") if label in results.scores]
    plot_curves(results, shown, folder / "curves.png")
    plot_matrices(results, shown, folder / "matrices.png")


def _about(results: Results, settings: Settings) -> dict[str, object]:
    """What was run on which timelines."""
    spreads = {f"{cell.person} {cell.seed}": one["spread"] for cell, one in results.numbers.items()}
    sizes = {cell.person: [one["timestamps"], one["train"], one["test"]] for cell, one in results.numbers.items()}
    judges = sorted({one["judge"] for one in results.numbers.values()})
    about = {"settings": asdict(settings), "judges": judges, "timelines": sizes, "appearance_spread": spreads}
    return {"commit": _commit(), **about}


def _commit() -> str:
    """Of the checkout, with a plus where files differ from it; ``"none"`` outside of one."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), "describe", "--always", "--dirty=+", "--abbrev=12"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "none"
    return found.stdout.strip()


def run(
    *,
    options: Options = Options(),  # noqa: B008 (frozen)
    full: Full = False,
    on_progress: Listen = ignore_progress,
) -> BenchResult:
    """Runs, and leaves cells and plots in the run folder.

    Args:
        options: see there.
        full: the same as the preset ``full``.
        on_progress: hears the stages ``"photos"`` and ``"cells"``.
    """
    options = replace(options, preset="full") if full else options
    cells, settings = run_experiment(options, on_progress), options.plan.settings
    results = results_of(cells, options.folder, settings)
    write_plots(results, options.folder)
    missing = missing_rows({"efficientnet-lite0": tuple(package.replace("_", "-") for package in PACKAGES)})
    return BenchResult("replay", (*rows_of(results), *missing), _about(results, settings))


def _shared(name: str) -> Path | None:
    path = SHARED / name
    return path if path.is_file() else None
