"""`bench store`: its rows say what they mean."""

from __future__ import annotations

from pathlib import Path

from everface.bench.store import faces, fill, read_rows
from everface.engine.replay.codec import CodecChoice
from everface.engine.replay.store import ReplayStore


def test_commits_and_reads_are_timed(tmp_path: Path) -> None:
    images = faces(20, 32)
    assert images.shape == (20, 32, 32, 3)
    choice = CodecChoice("webp", 60, 2)
    with ReplayStore.create(tmp_path / "w.everface", budget_bytes=1 << 18, config_json="{}", choice=choice) as store:
        assert len(fill(store, images, 10).clock) == 2
        assert len(store.memories()) == 20
        clock, processor = read_rows("small", store, 5)
    assert (clock.unit, clock.peer, clock.repeats) == ("ms/batch", None, 5)
    assert 0 < processor.value < 100
