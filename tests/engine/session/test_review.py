"""What a report is made of: as many of everything as the workspace has."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from everface import Engine
from everface.engine.session.review import review


def test_a_report_holds_timestamps_memories_and_forgetting(engine: Engine, batches: list[list[Path]]) -> None:
    empty = review(engine.person, engine.status(), engine._store)
    assert (empty.timeline, empty.memories, empty.samples) == ((), (), ())
    assert empty.footer.startswith("model none yet")
    for batch in batches[:2]:
        engine.update(batch)
    status = engine.status()
    data = review(engine.person, status, engine._store)
    assert [number.value for number in data.summary[:2]] == ["2", str(len(status.memories))]
    assert len(data.timeline) == 2
    assert [memory.id for memory in data.memories] == [memory.id for memory in status.memories]
    assert all(memory.image.dtype == np.uint8 for memory in data.memories)
    assert data.used_bytes == status.used_bytes
    assert np.shape(data.matrices[0].values) == (2, 2)
    assert data.samples
