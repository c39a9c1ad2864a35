"""SIGKILL at any moment of an update: the workspace opens, holds the state before or after, and can be updated."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from everface import Engine, EngineConfig


def update_in_a_process(path: Path, photos: list[Path]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "everface", "update", str(path), *map(str, photos)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


def kill_and_look(path: Path, photos: list[Path], seconds: float, timestamps: int) -> bool:
    """Kills an update after a time; returns whether it had committed."""
    process = update_in_a_process(path, photos)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with Engine.open(path) as engine:
        status = engine.status()
        assert status.timestamps in (timestamps, timestamps + 1)
        # The model that the last commit names is there, and unfinished ones are gone.
        assert engine._store.models.names() == ((status.model,) if status.model else ())
        assert (path / "memory.safetensors").stat().st_size <= status.budget_bytes
        assert (status.model == "") == (status.timestamps == 0)
        return status.timestamps > timestamps


def run(tmp_path: Path, config: EngineConfig, batches: list[list[Path]], delays: list[float]) -> None:
    slow = dataclasses.replace(config, tune=dataclasses.replace(config.tune, max_steps=40))
    path = tmp_path / "w"
    Engine.create(path, slow).close()
    done = 0
    for delay in delays:
        if kill_and_look(path, batches[done], delay, done):
            done += 1
        if done == len(batches):
            return
    process = update_in_a_process(path, batches[done])
    assert process.wait(timeout=120) == 0
    with Engine.open(path, readonly=True) as engine:
        assert engine.status().timestamps == done + 1


def test_a_few_kills(tmp_path: Path, config: EngineConfig, batches: list[list[Path]]) -> None:
    run(tmp_path, config, batches, [2.0, 3.5])


@pytest.mark.slow
def test_many_kills(tmp_path: Path, config: EngineConfig, batches: list[list[Path]]) -> None:
    start = time.monotonic()
    path = tmp_path / "probe"
    Engine.create(path, config).close()
    assert update_in_a_process(path, batches[0]).wait(timeout=120) == 0
    whole = time.monotonic() - start
    run(tmp_path, config, batches, [whole * (0.3 + 0.8 * i / 30) for i in range(30)])
