"""Rows and timings that all benchmarks share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from everface import _native
from everface.bench.common import BenchResult, Row, Timing, interleave, joined, missing_rows, threads
from everface.engine.errors import UsageError


def test_a_ratio_above_one_is_better() -> None:
    row = Row("x", "time", 2.0, "ms/batch")
    assert row.beside("png-folder", 6.0).ratio == 3.0
    assert row.beside("required", 1.0, higher=True).ratio == 2.0
    assert row.beside("png-folder", None).peer_value is None
    assert Row("x", "size", 0.0, "bytes").beside("y", 0.0).ratio == 1.0


@pytest.mark.parametrize(
    "wrong", [{"case": ""}, {"value": float("nan")}, {"repeats": 0}, {"peer": "Big"}, {"ratio": 1.0}]
)
def test_rows_keep_the_contract(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Row(**{"case": "x", "metric": "time", "value": 1.0, "unit": "s", **wrong})  # type: ignore[arg-type]


def test_timings_are_medians_with_quartiles() -> None:
    timing = joined([Timing((second,), (2 * second,)) for second in (1.0, 2.0, 4.0)])
    assert (timing.median, timing.spread, timing.processor.median) == (2.0, 1.5, 4.0)
    assert Timing((3.0,)).spread == 0.0
    row = timing.rows("x", "ms", {"other": Timing((4.0,))})[0]
    assert (row.value, row.peer_value, row.ratio, row.repeats, row.spread) == (2000.0, 4000.0, 2.0, 3, 1500.0)


def test_runs_are_taken_in_turn() -> None:
    order: list[str] = []
    times = interleave({name: lambda name=name: order.append(name) for name in "ab"}, 2)  # type: ignore[misc]
    assert order == ["a", "b"] * 3  # once to warm up
    assert all(len(timing.clock) == 2 for timing in times.values())


def test_threads_are_as_before_afterwards() -> None:
    before = torch.get_num_threads(), _native.get_threads()
    with threads(2, 1):
        assert (torch.get_num_threads(), _native.get_threads()) == (1, 2)
    assert (torch.get_num_threads(), _native.get_threads()) == before


def test_missing_peers_are_named_in_the_file(tmp_path: Path) -> None:
    rows = missing_rows({"numpy": ("numpy",), "nobody": ("numpy", "no-such-package")})
    BenchResult("x", tuple(rows), {"kernels": "avx2"}).write(tmp_path / "rows.json")
    read = json.loads((tmp_path / "rows.json").read_text())
    assert read["benchmark"] == "x" and read["machine"]["kernels"] == "avx2" and read["machine"]["cores"] >= 1
    assert read["machine"]["missing_peers"] == ["nobody"]
    assert [row["case"] for row in read["rows"]] == ["the package no-such-package"]
