"""What the command line shows: progress on a terminal's standard error, results on standard output."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from everface.engine.progress import OnProgress, Progress, ignore_progress

_STAGES = {
    "photos": "Looking at photos",
    "invert": "Finding them in latent space",
    "tune": "Tuning the generator",
    "compact": "Compacting",
    "check": "Checking",
}


def say(text: str) -> None:
    """One line on standard output."""
    sys.stdout.write(text + "\n")


def emit(value: Any, as_json: bool, text: str) -> None:
    """Prints a result, as JSON or as text."""
    say(json.dumps(_plain(value), indent=None, sort_keys=False) if as_json else text)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@contextmanager
def shown_progress(elsewhere: OnProgress = ignore_progress) -> Iterator[OnProgress]:
    """A listener that draws a bar with the time left where standard error is a terminal; elsewhere another."""
    if not sys.stderr.isatty():
        yield elsewhere
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[left]}"))
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def listen(progress: Progress) -> None:
            if progress.stage not in tasks:
                tasks[progress.stage] = bars.add_task(_STAGES.get(progress.stage, progress.stage), left="")
            left = "" if progress.seconds_left is None else f"{progress.seconds_left:.0f} s left"
            loss = "" if progress.loss is None else f", loss {progress.loss:.3f}"
            bars.update(tasks[progress.stage], total=progress.total, completed=progress.done, left=left + loss)

        yield listen
