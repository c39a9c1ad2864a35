"""Reads hostile checkpoints in forked processes that report whatever Python was asked to do meanwhile."""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from everface.bench.torture.album import forked
from everface.bench.torture.hostile import Arsenal
from everface.engine.errors import EverfaceError
from everface.engine.generators.importing.convert import read_checkpoint
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress

_SECONDS = 60
# What an audit hook hears when code is run, looked up, or let out of the process.
_EVENTS = ("exec", "compile", "import", "os.", "subprocess.", "socket.", "shutil.", "ctypes.", "pickle.find_class")
_HARMLESS = ("os.putenv", "os.listdir", "os.scandir")


@dataclass(frozen=True)
class HostileResult:
    """What reading hostile files gave.

    Attributes:
        files: files tried.
        refused: files that gave a CheckpointError.
        read: files that were read as a whole, finite generator or an EG3D's tensors: some mutations spare them.
        executed: files during whose reading Python ran or imported anything, one line each.
        wrong: files that gave anything else, one line each.
        seconds: the longest that one file took, of processor time.
        grown_bytes: the most that a process's memory grew.
        kinds: files by kind, and refused ones.
    """

    files: int
    refused: int
    read: int
    executed: tuple[str, ...]
    wrong: tuple[str, ...]
    seconds: float
    grown_bytes: int
    kinds: dict[str, tuple[int, int]]


def hostile_reads(
    files: int, seed: int = 0, on_progress: OnProgress = ignore_progress, *, group: int = 1000, jobs: int = 2
) -> HostileResult:
    """Draws, writes and reads files, ``jobs`` groups at a time; each in a forked process, so that a crash is counted.

    The files depend on the seed and the size of the groups, not on the number of jobs.
    """
    reporter = ProgressReporter("hostile", files, on_progress)
    counts: Counter[tuple[str, str]] = Counter()
    bad: list[str] = []
    seconds, grown = 0.0, 0
    starts = range(0, files, group)
    for first in range(0, len(starts), jobs):
        running = [(start, min(group, files - start)) for start in starts[first : first + jobs]]
        children = [_forked((seed, start), count) for start, count in running]
        for (start, count), (child, reading) in zip(running, children, strict=True):
            with os.fdopen(reading) as lines:
                told = [line.split(" ", 2) for line in lines.read().splitlines()]
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            for kind, outcome, rest in told:
                if outcome == "grown":
                    grown = max(grown, int(rest))
                    continue
                counts[kind, outcome] += 1
                if outcome in ("executed", "wrong"):
                    bad.append(f"{kind} {outcome} {rest}")
                else:
                    seconds = max(seconds, float(rest))
            read = sum(outcome != "grown" for _, outcome, _ in told)
            if read < count:
                name = signal.Signals(-status).name if status < 0 else f"exit {status}"
                bad.append(f"crash wrong {name} at file {start + read} of seed {seed}")
            reporter.advance(count)
    return _result(files, counts, bad, (seconds, grown))


def _result(files: int, counts: Counter[tuple[str, str]], bad: list[str], cost: tuple[float, int]) -> HostileResult:
    names = sorted({kind for kind, _ in counts})
    kinds = {
        name: (sum(n for (kind, _), n in counts.items() if kind == name), counts[name, "refused"]) for name in names
    }
    executed = tuple(line for line in bad if " executed " in line)
    wrong = tuple(line for line in bad if " executed " not in line)
    refused, whole = (sum(n for (_, told), n in counts.items() if told == outcome) for outcome in ("refused", "read"))
    return HostileResult(files, refused, whole, executed, wrong, *cost, kinds)


def _forked(seed: tuple[int, int], count: int) -> tuple[int, int]:
    """The child's process id and the end of a pipe that it writes its outcomes to: less than the pipe holds."""
    reading, writing = os.pipe()
    child = forked()
    if child == 0:
        try:
            os.close(reading)
            with os.fdopen(writing, "w", buffering=1) as out, tempfile.TemporaryDirectory() as folder:
                _read_group(Path(folder), seed, count, out.write)
                os.chdir("/")
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    return child, reading


def _read_group(folder: Path, seed: tuple[int, int], count: int, tell: Callable[[str], object]) -> None:
    arsenal = Arsenal(np.random.default_rng(seed))
    path = folder / "checkpoint"
    os.chdir(folder)
    for data in arsenal.spoiled.good.values():  # all lazy imports happen now
        path.write_bytes(data)
        read_checkpoint(path)
    heard: list[str] = []
    listening = [False]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if listening[0]:
            opened = event == "open" and arguments[0] != str(path)
            if opened or (event.startswith(_EVENTS) and not event.startswith(_HARMLESS)):
                heard.append(f"{event} {str(arguments)[:80]}")

    sys.addaudithook(hook)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(count):
        kind, data = arsenal.draw()
        path.write_bytes(data)
        heard.clear()
        signal.setitimer(signal.ITIMER_PROF, _SECONDS)  # of processor time
        listening[0], started = True, time.process_time()
        try:
            read_checkpoint(path)
            outcome = "read"
        except EverfaceError:
            outcome = "refused"
        except Exception as error:  # noqa: BLE001 - any other exception is what is being looked for
            outcome = f"wrong {type(error).__name__} {str(error)[:80]}"
        took, listening[0] = time.process_time() - started, False
        if heard or len(os.listdir(folder)) > 1:
            outcome = f"executed {heard[:3]} {os.listdir(folder)[:3]}"
        tell(" ".join(f"{kind} {outcome} {took:.3f}".split()) + "\n")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    tell(f"group grown {grown * 1024}\n")
