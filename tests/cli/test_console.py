"""Progress on a terminal, and results as plain JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from everface.console import emit, shown_progress
from everface.engine.progress import Progress, ignore_progress


def test_progress_is_drawn_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with shown_progress() as listen:
        assert listen is ignore_progress
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with shown_progress() as listen:
        listen(Progress("photos", 1, 2, seconds_left=3.0))
        listen(Progress("tune", 5, None, loss=0.25))
    assert capsys.readouterr().out == ""


def test_what_json_does_not_know_is_written_plainly(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"path": Path("a"), "values": (1.0, float("nan")), 3: None}, True, "")
    assert json.loads(capsys.readouterr().out) == {"path": "a", "values": [1.0, None], "3": None}
