"""How time grows with the queries n, the vertices m, the dimensions d and the subset size b; and its plot."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from everface.bench.common import Row, interleave
from everface.bench.hull_selection import album_pool
from everface.engine.ops.hull.projection import ProjectOptions, project_to_hull
from everface.engine.ops.hull.scores import PoolScorer
from everface.engine.replay.policies.candidates import draw

SERIES = {
    "n": (1, 10, 100, 1000, 10_000, 30_000),
    "m": (4, 16, 64, 200, 512, 1024),
    "d": (16, 64, 256, 1024, 4096, 16_384),
    "b": (2, 4, 8, 16, 32, 64),
}


def _projection(n: int, m: int, d: int, repeats: int) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    vertices, queries = rng.normal(size=(m, d)), rng.normal(size=(n, d))
    options = ProjectOptions(weights="none", threads=2)
    timing = interleave({"ours": lambda: project_to_hull(queries, vertices, options=options)}, repeats)["ours"]
    return timing.median, timing.spread


def _scores(b: int, repeats: int) -> tuple[float, float]:
    pool = album_pool((20,) * 8, 512, 0)
    scorer = PoolScorer(pool.latents, pool.groups, pool.spread, threads=2)
    rows = draw(pool.groups, b, 200, np.random.default_rng(0))
    timing = interleave({"ours": lambda: scorer.scores(rows)}, repeats)["ours"]
    return timing.median / len(rows), timing.spread / len(rows)


def growth(repeats: int) -> list[Row]:
    """Rows of metric ``growth``: seconds against one size, the others fixed (n 2000, m 50, d 512)."""
    rows = []
    for name, sizes in SERIES.items():
        for size in sizes:
            if name == "b":
                seconds, spread = _scores(size, repeats)
                case = f"growth b={size} (pool 160, d 512, one candidate)"
            else:
                fixed = {"n": 2000, "m": 50, "d": 512} | {name: size}
                fixed["n"] = 200 if name == "d" else fixed["n"]
                seconds, spread = _projection(fixed["n"], fixed["m"], fixed["d"], repeats)
                rest = ", ".join(f"{key} {value}" for key, value in fixed.items() if key != name)
                case = f"growth {name}={size} ({rest})"
            rows.append(Row(case, "time", seconds, "s", repeats=repeats, spread=spread))
    return rows


def plot_growth(rows: list[Row], path: Path) -> None:
    """Four panels, logarithmic axes, each with the slope between its last two points."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(1, 4, figsize=(16, 4), constrained_layout=True)
    for axis, name in zip(axes, SERIES, strict=True):
        points = [row for row in rows if row.case.startswith(f"growth {name}=")]
        sizes = np.array([float(row.case.split("=")[1].split(" ")[0]) for row in points])
        seconds = np.array([row.value for row in points])
        slope = np.log(seconds[-1] / seconds[-2]) / np.log(sizes[-1] / sizes[-2])
        axis.errorbar(sizes, seconds, yerr=[row.spread / 2 for row in points], marker="o", capsize=3)
        axis.set(xscale="log", yscale="log", xlabel=name, title=f"{points[0].case.split('(')[1].rstrip(')')}")
        axis.set_ylabel("seconds" if name != "b" else "seconds per candidate")
        axis.text(0.05, 0.9, f"last slope {slope:.2f}", transform=axis.transAxes)
        axis.set_xticks(sizes, [f"{size:g}" for size in sizes], fontsize=8)
        axis.xaxis.set_minor_locator(ticker.NullLocator())
        axis.grid(visible=True, which="both", alpha=0.3)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
