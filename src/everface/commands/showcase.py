"""Commands that need no workspace: the demo, the benchmarks, the doctor."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from everface.commands.common import Json, parse
from everface.console import emit, say, shown_progress
from everface.engine.errors import UsageError

BENCHMARKS = (
    "album", "base", "checkpoints", "encoder", "export", "growth", "hull", "latency", "ops", "portrait", "render",
    "replay", "store", "update",
)  # fmt: skip


def demo(*, out: Path = Path("demo-out"), json: Json = False) -> None:
    """Learn an embedded album of a synthetic person, with and without memory, and write a report and an ONNX file.

    Args:
        out: Folder for the report, the pictures and the ONNX file.
        json: As above.
    """
    from everface.bench.demo import run_demo

    with shown_progress() as listen:
        result = run_demo(out, listen)
    lower, hull = result.forgetting["lower"], result.forgetting["er-hull"]
    emit(
        result,
        json,
        f"Forgetting on held-out photos (lower is better): naive fine-tuning {lower:.3f}, er-hull {hull:.3f}\n"
        f"Identity of new pictures (higher is better): base {result.identity['base']:.3f}, "
        f"personal {result.identity['personal']:.3f}\n"
        f"Took {result.seconds:.0f} s. Open {result.report} in a browser; the model is {result.onnx}",
    )


def bench(
    name: Annotated[str, Parameter(allow_leading_hyphen=True)] = "",
    *options: Annotated[str, Parameter(allow_leading_hyphen=True)],
    json: Annotated[Path | None, Parameter(name="--json", help="File for the rows.")] = None,
) -> None:
    """Run a benchmark: album, base, checkpoints, encoder, export, growth, hull, latency, ops, portrait, render, replay,
    store, or update.

    Args:
        name: Which one.
        options: --full for the long run instead of the one that ends within five minutes, and what the benchmark takes
            beside it: everface bench NAME --help shows that.
        json: File for the rows.
    """
    try:
        module = importlib.import_module(f"everface.bench.{name}") if name in BENCHMARKS else None
    except ModuleNotFoundError as error:
        if error.name != f"everface.bench.{name}":
            raise
        module = None
    if module is None:
        there = ", ".join(bench for bench in BENCHMARKS if importlib.util.find_spec(f"everface.bench.{bench}"))
        raise UsageError("NAME", expected=f"one of {there}", found=repr(name), remedy="choose one of these")
    from everface.bench.common import BenchResult
    from everface.bench.progress import PlainProgress

    app = App(f"everface bench {name}", help=module.__doc__, help_format="plaintext", version_flags=[])
    app.default_parameter = Parameter(negative="")
    app.default(module.run)
    command, bound = parse(app, options)
    if command is not module.run:
        command(*bound.args, **bound.kwargs)  # its help was asked for
        return
    with shown_progress(PlainProgress()) as listen:
        result = command(*bound.args, **bound.kwargs, on_progress=listen)
    result = result if isinstance(result, BenchResult) else BenchResult(name, tuple(result))
    for row in result.rows:
        beside = "" if row.peer is None else f"  {row.peer} {_short(row.peer_value)}  ratio {_short(row.ratio)}"
        say(f"{row.case:40} {row.metric:16} {_short(row.value)} {row.unit}{beside}")
    if result.missing:
        say(f"not installed: {', '.join(result.missing)}; pip install 'everface[bench]' brings what is on PyPI")
    if json is not None:
        result.write(json)


def _short(value: float | None) -> str:
    return "missing" if value is None else f"{value:.4g}"


def doctor(*, json: Json = False) -> None:
    """Show which backends and models work here, and why one does not."""
    from everface.doctor import diagnose

    report = diagnose()
    lines = [f"base {report.base['name']}, {report.base['resolution']} px"]
    lines += [
        f"{'ok ' if backend['available'] else 'no '} {name}: {backend['why']}"
        for name, backend in report.backends.items()
    ]
    emit(report, json, "\n".join(lines))
