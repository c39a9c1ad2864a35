"""Rows of whole steps: each peer once for tuning and once for a search."""

from __future__ import annotations

from everface.bench.learning import learning_rows


def test_rows_stand_beside_every_peer() -> None:
    every = learning_rows((16, 128, 16), 1)
    rates, rows = ([row for row in every if (row.unit == "GFLOP/s") == rate] for rate in (True, False))
    assert {row.metric for row in rows} == {"tuning step", "search step"} and len(rows) == 10
    assert [row.metric.split()[0] for row in rates] == ["tuning", "search"]
    assert all(row.value > 0 and row.peer == "matrix-product" for row in rates)
    assert all(row.value > 0 and row.ratio and row.unit == "ms/step" for row in rows)
    assert {row.peer for row in rows} >= {"pytorch-operators", "pytorch-eager-f32", "pytorch-channels-last-bf16"}
