"""The synthesis benchmarks on tiny networks: rows, peers, and what is counted."""

from __future__ import annotations

import pytest

from everface.bench.baselines.synthesis import direct_macs, make_network
from everface.bench.latency import Case, measure
from everface.bench.ops import OperatorCase, TuningCase, operator_rows, tuning_rows


def test_multiplications_of_a_small_network():
    network = make_network(8, 64, 8)
    # conv1 at 4 (16 pixels), conv0 from 4 to 8 (16 input pixels), conv1 at 8 (64 pixels), all 8 channels.
    assert direct_macs(network) == (16 + 16 + 64) * 9 * 8 * 8


def test_operator_rows_name_type_and_peer():
    rows = operator_rows(OperatorCase(8, 8, 8, 2, 1), 2)
    assert [row.case.split()[-1] for row in rows] == ["fp32", "bf16"]
    assert all(row.peer == "pytorch-eager" and row.ratio is not None and row.ratio > 0 for row in rows)


def test_tuning_rows_have_one_best_peer():
    rows = tuning_rows(TuningCase(8, 64, 8, 1), 2, compiled=False)
    assert {row.case.split()[0] for row in rows} == {"tuning"}
    assert sum(str(row.peer).endswith("-best") for row in rows) == 2


@pytest.mark.slow
def test_latency_rows_compare_time_memory_and_error():
    pytest.importorskip("onnx")
    rows = measure(Case(8, 64, threads=1), 2, compiled=False)
    assert {row.metric for row in rows} == {"time", "direct GFLOP/s", "memory", "relative error"}
    assert all(row.case.startswith("8/64 batch 1 threads 1 ") for row in rows)
