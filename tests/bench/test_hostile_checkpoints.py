"""A sample of the hostile checkpoints; `everface bench checkpoints --full` reads all of them."""

from __future__ import annotations

from everface.bench.torture.checkpoints import hostile_reads
from everface.bench.torture.hostile import CRAFTED


def test_hostile_checkpoints_run_nothing_and_cost_little() -> None:
    result = hostile_reads(500, seed=3, jobs=1)
    assert result.executed == ()
    assert result.wrong == ()
    assert result.refused + result.read == 500
    assert result.seconds < 10
    assert result.grown_bytes < 300e6
    for kind in CRAFTED:
        files, refused = result.kinds.get(kind, (0, 0))
        assert files == refused, kind
        assert files > 0 or kind == "steps"
