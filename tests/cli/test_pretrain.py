"""The command that trains bases: settings reach the run, and what it made is told."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from everface.cli import run
from everface.engine.pretrain.config import PretrainConfig

Captured = pytest.CaptureFixture[str]


def test_settings_reach_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured) -> None:
    calls: list[tuple[Any, ...]] = []

    def pretrain(sources: list[Path], out: Path, config: PretrainConfig, **_: Any) -> SimpleNamespace:
        calls.append((sources, out, config))
        measured = SimpleNamespace(
            features="MobileNetV2", samples=10, frechet=2.0, frechet_real=1.0, reconstruction=0.5
        )
        return SimpleNamespace(evaluation=measured, encoder="e", generator="g", shown=7, grid="grid.png")

    monkeypatch.setattr("everface.engine.pretrain.run.pretrain", pretrain)
    faces, more, out = tmp_path / "faces", tmp_path / "more", tmp_path / "g.safetensors"
    usual = PretrainConfig()
    arguments = ["pretrain", faces, "--out", out, "--more", more, "--batch", 4, "--seed", 3]
    arguments += ["--learning-rate", usual.learning_rate / 2]
    assert run([str(argument) for argument in arguments]) == 0
    shown = capsys.readouterr().out
    assert "Wrote g after 7 pictures; look at grid.png" in shown
    assert "2.00; real faces 1.00" in shown
    sources, where, config = calls[0]
    assert (sources, where) == ([faces, more], out)
    assert (config.resolution, config.images, config.batch, config.seed) == (64, usual.images, 4, 3)
    assert config.learning_rate == pytest.approx(usual.learning_rate / 2)


def test_a_3d_base_has_its_own_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured) -> None:
    def pretrain(source: Path, out: Path, config: Any, **_: Any) -> SimpleNamespace:
        assert (source, config.rays, config.images) == (tmp_path, 16, 5)
        return SimpleNamespace(processor_seconds=120.0, generator=out, shown=5, grid="grid.png")

    monkeypatch.setattr("everface.engine.pretrain.posed.run.pretrain_3d", pretrain)
    command = ["pretrain", str(tmp_path), "--out", "g", "--dimension", "3d", "--rays", "16", "--images", "5"]
    assert run(command) == 0
    assert "2 min of a core" in capsys.readouterr().out
    assert run([*command[:4], "--dimension", "4d"]) == 2
