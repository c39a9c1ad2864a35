"""What the benchmark of a whole update makes of an update's progress."""

from __future__ import annotations

import io
import time

from everface.bench.progress import PlainProgress
from everface.bench.update import _Stages
from everface.engine.progress import Progress


def _work(seconds: float) -> None:
    start = time.process_time()
    while time.process_time() - start < seconds:
        pass


def test_processor_time_belongs_to_the_stage_that_ends():
    heard: list[Progress] = []
    stages = _Stages(heard.append)
    for stage, seconds in (("photos", 0.01), ("photos", 0.01), ("invert", 0.05), ("tune", 0.02)):
        _work(seconds)
        stages(Progress(stage, 1, 2))
    _work(0.03)
    rows = stages.rows("64/4096", 2)
    assert [row.metric.split(",")[0] for row in rows] == ["photos", "invert", "tune", "rest"]
    for row, least in zip(rows, (0.02, 0.05, 0.02, 0.03), strict=True):
        assert least / 2 <= row.value < least / 2 + 0.05
    assert len(heard) == 4


def test_plain_progress_writes_the_end_of_a_stage_and_little_else():
    out = io.StringIO()
    listen = PlainProgress(seconds=1000, stream=out)
    for done in range(1, 101):
        listen(Progress("tune", done, 100, seconds_left=3.0))
    assert out.getvalue() == "tune 100/100\n"
    listen = PlainProgress(seconds=0, stream=out)
    listen(Progress("invert", 1, 4, seconds_left=3.2))
    assert out.getvalue().endswith("invert 1/4, 3 s left\n")
