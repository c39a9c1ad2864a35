"""Workspaces: made, opened, sealed, within their budget, and rid of what shall be forgotten."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from everface import Engine, EngineConfig
from everface.engine.errors import (
    BudgetError,
    CheckpointError,
    KeyMismatchError,
    UsageError,
    WorkspaceError,
)
from everface.engine.generators.bases import load_base
from everface.engine.replay.store import Key


def test_the_budget_is_never_exceeded(
    tmp_path: Path, config: EngineConfig, quick: None, batches: list[list[Path]]
) -> None:
    with Engine.create(tmp_path / "w", dataclasses.replace(config, budget_bytes=16 * 1024)) as engine:
        for batch in batches:
            engine.update(batch)
            assert (engine.path / "memory.safetensors").stat().st_size <= 16 * 1024


def test_encrypted_workspaces_need_their_passphrase(
    tmp_path: Path, config: EngineConfig, quick: None, batches: list[list[Path]]
) -> None:
    path, key = tmp_path / "w", Key.from_passphrase("open sesame")
    with Engine.create(path, config, key=key) as engine:
        engine.update(batches[0])
        images = engine.generate(2)
    for wrong in (None, Key.from_passphrase("open sesam")):
        with pytest.raises(KeyMismatchError):
            Engine.open(path, key=wrong)
    with Engine.open(path, key=key) as engine:
        assert engine.status().encrypted
        assert np.array_equal(engine.generate(2), images)


def test_wrong_settings_leave_nothing_behind(tmp_path: Path, config: EngineConfig) -> None:
    path = tmp_path / "w"
    wrong = [
        ({"policy": "best"}, UsageError),
        ({"base": "nothing"}, CheckpointError),
        ({"dimension": "3d"}, CheckpointError),
    ]
    for change, kind in wrong:
        with pytest.raises(kind):
            Engine.create(path, dataclasses.replace(config, **change))
        assert not path.exists()
    with pytest.raises(UsageError, match="budget"):
        dataclasses.replace(config, budget_bytes=100)
    Engine.create(path, config).close()
    with pytest.raises(WorkspaceError, match="exists"):
        Engine.create(path, config)
    assert issubclass(BudgetError, WorkspaceError)


def test_the_base_is_found_from_anywhere_and_must_stay_the_same(
    tmp_path: Path,
    config: EngineConfig,
    quick: None,
    batches: list[list[Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine, path = tmp_path / "mine.safetensors", tmp_path / "w"
    mine.write_bytes(Path(config.base).read_bytes())
    monkeypatch.chdir(tmp_path)
    with Engine.create(path, dataclasses.replace(config, base="mine.safetensors")) as engine:
        engine.update(batches[0])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with Engine.open(path, readonly=True) as engine:
        assert len(engine.generate(1)) == 1
    base = load_base(str(mine))
    base.generator.synthesis.b4.const.mul_(2)
    mine.write_bytes(base.generator.to_bytes({}))
    with Engine.open(path, readonly=True) as engine, pytest.raises(CheckpointError, match="restore the base"):
        engine.generate(1)


def test_only_one_writer_at_a_time(engine: Engine) -> None:
    with pytest.raises(WorkspaceError, match="another engine of this program"):
        Engine.open(engine.path)
    with Engine.open(engine.path, readonly=True) as reader:
        assert reader.status().timestamps == 0


def test_opening_needs_no_pytorch() -> None:
    code = "import sys; import everface.engine.session.engine; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"


def test_forgetting_tunes_anew_next_time(engine: Engine, batches: list[list[Path]]) -> None:
    engine.update(batches[0])
    gone = engine.status().memories[0].id
    report = engine.forget(gone)
    assert report.still_derived
    status = engine.status()
    assert gone not in {one.id for one in status.memories}
    assert status.still_derived == (gone,)
    engine.update(batches[1])
    assert engine.status().still_derived == ()
    with pytest.raises(UsageError, match=gone):
        engine.forget(gone)
