"""Mutations of a good workspace: each must give a clear error or a correct read."""

from __future__ import annotations

import shutil
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from everface.bench.torture.album import CONFIG, Album, told_by_child
from everface.engine.errors import EverfaceError
from everface.engine.progress import OnProgress, ProgressReporter, ignore_progress
from everface.engine.replay.store import Key, ReplayStore, ScryptCost

_KINDS = ("bit", "byte", "run", "zeros", "swap", "insert", "cut", "copy", "number", "many")


@dataclass(frozen=True)
class MalformedResult:
    """What reading malformed files gave.

    Attributes:
        files: files tried.
        refused: files that gave an EverfaceError.
        correct: files that were read correctly all the same.
        wrong: files that gave anything else, one line each.
    """

    files: int
    refused: int
    correct: int
    wrong: tuple[str, ...]


def mutate(good: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """One random mutation; the first bytes, which hold the structure, are hit more often than the others."""
    kind = str(rng.choice(_KINDS))
    data, size = bytearray(good), len(good)
    reach = int(rng.choice([100, 2048, size]))
    at = int(rng.integers(min(reach, size)))
    length = int(rng.integers(1, 64)) if rng.random() < 0.7 else int(rng.integers(1, 2048))
    other = int(rng.integers(size))
    if kind == "bit":
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == "byte":
        data[at] = int(rng.integers(256))
    elif kind == "run":
        data[at : at + length] = rng.bytes(len(data[at : at + length]))
    elif kind == "zeros":
        data[at : at + length] = bytes(len(data[at : at + length]))
    elif kind == "swap":
        one, two = at // 512 * 512, other // 512 * 512
        data[one : one + 512], data[two : two + 512] = data[two : two + 512], data[one : one + 512]
    elif kind == "insert":
        data[at:at] = rng.bytes(length)
    elif kind == "cut":
        del data[at : at + length if rng.random() < 0.5 else size]
    elif kind == "copy":
        data[at : at + length] = data[other : other + length]
    elif kind == "number":
        value = int(rng.choice([0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]))
        data[at : at + 4] = value.to_bytes(4, "big")
    else:
        for place in rng.integers(0, size, int(rng.integers(2, 40))):
            data[int(place)] ^= int(rng.integers(1, 256))
    return kind, bytes(data)


def malformed_reads(
    folder: Path, files: int, seed: int = 0, on_progress: OnProgress = ignore_progress, group: int = 500,
    key: Key | None = None,
) -> MalformedResult:  # fmt: skip
    """Mutates, reads all, and compares; a forked process reads each group, so that a crash is seen and counted."""
    path, album = folder / "good.everface", Album(side=16, dimension=24, batch=3)
    cost = ScryptCost(2**10, 8, 1)
    with ReplayStore.create(path, budget_bytes=16384, config_json=CONFIG, key=key, cost=cost) as store:
        for _ in range(3):
            album.update(store)
        album.verify(store)
        ids = [one.id for one in store.memories()]

    def sound(copy: Path) -> bool:
        with ReplayStore.open(copy, key=key, readonly=True) as store:
            album.verify(store)
            return [one.id for one in store.memories()] == ids and store.state.timestamps == 3

    reporter = ProgressReporter("malformed", files, on_progress)
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for start in range(0, files, group):
        count = min(group, files - start)
        told, status = told_by_child(partial(_read_group, path, sound, (seed, start), count))
        for line in told:
            counts[line.split(" ", 1)[0]] += 1
            wrong += [line] if line.startswith("wrong") else []
        if len(told) < count:
            name = signal.Signals(-status).name if status < 0 else f"exit {status}"
            wrong.append(f"crash {name} at file {start + len(told)} of seed {seed}")
        reporter.advance(count)
    return MalformedResult(files, counts["refused"], counts["correct"], tuple(wrong))


def _read_group(
    path: Path, sound: Callable[[Path], bool], seed: tuple[int, int], count: int, tell: Callable[[str], object]
) -> None:
    name = next(path.glob("memory.*")).name
    good = (path / name).read_bytes()
    copy = path.with_name(f"bad-{seed[1]}.everface")
    shutil.copytree(path, copy)
    rng = np.random.default_rng(seed)
    for _ in range(count):
        kind, data = mutate(good, rng)
        (copy / name).write_bytes(data)
        try:
            tell("correct\n" if sound(copy) else f"wrong {kind}: other memories\n")
        except EverfaceError as error:
            # `verify` raises for wrong pixels what the store raises for damage; only its subjects differ.
            tell(f"wrong {kind}: {error}\n" if "its own" in str(error) else "refused\n")
        except Exception as error:  # noqa: BLE001  # any other exception is what is being looked for
            tell(f"wrong {kind}: {type(error).__name__} {error}\n".replace("\n", " ") + "\n")
    shutil.rmtree(copy)
