"""The commands that run a benchmark or the demo, on stand-ins that answer at once."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest

from everface.bench.common import Full, Listen, Row
from everface.cli import run
from everface.engine.progress import ignore_progress


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """``everface bench hull``, done at once."""
    module = types.ModuleType("everface.bench.hull")
    rows = [
        Row("square", "time", 2.0, "s", "peer", None, None, 1, 0.0),
        Row("cube", "time", 3.0, "s", None, None, None, 1, 0.0),
    ]

    def measured(*, full: Full = False, on_progress: Listen = ignore_progress) -> list[Row]:
        return rows if full else []

    module.run = measured  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "everface.bench.hull", module)
    return module


def test_a_benchmark_is_shown_and_written(
    benchmark: types.ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", "hull", "--full", "--json", str(tmp_path / "rows.json")]) == 0
    shown = capsys.readouterr().out
    assert "peer missing  ratio missing" in shown
    assert "not installed: peer" in shown
    assert [row["case"] for row in json.loads((tmp_path / "rows.json").read_text())["rows"]] == ["square", "cube"]
    assert run(["bench", "hull", "--preset", "laptop"]) == 2
    assert "--preset" in capsys.readouterr().err
    assert run(["bench", "hull", "--help"]) == 0
    assert "--full" in capsys.readouterr().out


def test_a_benchmark_without_its_package_says_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> types.ModuleType:
        raise ModuleNotFoundError(name="scipy")

    monkeypatch.setattr("everface.commands.showcase.importlib.import_module", missing)
    assert run(["bench", "hull"]) == 1
    assert "everface[bench]" in capsys.readouterr().err


def test_the_demo_tells_what_it_made(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    result = types.SimpleNamespace(
        report=Path("r.html"), onnx=Path("m.onnx"), seconds=1.0, forgetting={"lower": 0.2, "er-hull": 0.1},
        identity={"base": 0.3, "personal": 0.6},
    )  # fmt: skip
    monkeypatch.setattr("everface.bench.demo.run_demo", lambda out, listen: result)
    assert run(["demo"]) == 0
    assert "er-hull 0.100" in capsys.readouterr().out
