"""The renderer's benchmark on a tiny view: rows, peers and errors."""

from __future__ import annotations

from everface.bench.render import PEER, Case, measure, view_rows


def test_rows_compare_time_and_error_of_one_view():
    rows = measure(Case(8, 8, 8), 2, planes_side=16)
    assert {row.peer for row in rows} == {PEER}
    views = [row for row in rows if "forward and backward" not in row.case]
    assert {row.metric for row in views} == {
        "time", "processor time", "features error", "depth error", "opacity error",
    }  # fmt: skip
    assert {row.case.split()[-1] for row in views} == {"exact", "skipping"}
    assert all(row.value < 1e-3 for row in views if row.metric == "features error")
    assert len(rows) - len(views) == 2
    assert all(row.ratio is not None and row.ratio > 0 for row in rows)


def test_a_view_of_kept_planes_is_held_to_the_bound():
    rows = view_rows(Case(8, 8, 8), 2, planes_side=16)
    assert [row.metric for row in rows] == ["time", "processor time"]
    assert all(row.peer == "bound" and row.peer_value == 150 for row in rows)
