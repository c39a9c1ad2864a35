"""`bench store`: its rows say what they mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from everface.bench.baselines.buffers import measure_peer
from everface.bench.store import faces, fill, read_rows
from everface.engine.replay.codec import CodecChoice
from everface.engine.replay.store import ReplayStore


def test_reads_are_timed_beside_a_folder_of_png_files(tmp_path: Path) -> None:
    images = faces(20, 32)
    assert images.shape == (20, 32, 32, 3)
    peer = measure_peer("png-folder", images, np.zeros((20, 8), np.float32))
    assert peer["bytes"] > 20 * 300
    choice = CodecChoice("webp", 60, 2)
    with ReplayStore.create(tmp_path / "w.everface", budget_bytes=1 << 18, config_json="{}", choice=choice) as store:
        assert len(fill(store, images, 10).clock) == 2
        assert len(store.memories()) == 20
        clock, processor = read_rows("small", store, 5, {"png-folder": peer})
    assert (clock.unit, clock.peer, clock.repeats) == ("ms/batch", "png-folder", 5)
    assert 0 < processor.value < 100


def test_a_peer_that_is_not_installed_is_named() -> None:
    told = measure_peer("no-such-peer", np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 4), np.float32))
    assert "no-such-peer" in told["missing"]
