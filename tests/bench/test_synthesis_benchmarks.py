"""The synthesis benchmarks on tiny networks: rows, peers, and what is counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from everface import _native
from everface.bench import latency
from everface.bench.baselines.synthesis import grouped_synthesis, make_network
from everface.bench.common import Row
from everface.bench.latency import Case, measure
from everface.bench.ops import OperatorCase, operator_rows
from everface.engine.ops.synthesis.inference import PackedSynthesis


@pytest.mark.parametrize("resolution", [8, 16])
def test_the_grouped_formulation_is_the_same_function(resolution):
    network = make_network(resolution, 64, 8).requires_grad_(False)
    ws = torch.randn(3, network.config.num_ws, 512, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(grouped_synthesis(network, ws), network(ws), rtol=1e-4, atol=1e-4)


def test_operator_rows_name_type_and_peer():
    rows = operator_rows(OperatorCase(8, 8, 8, 2, 1), 2)
    types = ["fp32", "bf16"] if torch.ops.mkldnn._is_mkldnn_bf16_supported() else ["fp32"]
    assert [row.case.split()[-1] for row in rows] == types
    assert all(row.peer == "pytorch-eager" and row.ratio is not None and row.ratio > 0 for row in rows)


def _one_row(case: Case, repeats: int, compiled: bool) -> list[Row]:
    del repeats, compiled
    return [Row(str(case), "time", 1.0, "ms/image")]


def test_the_peak_is_there_for_each_type_that_the_processor_multiplies(monkeypatch):
    monkeypatch.setattr(latency, "_PEAK_SIDE", 64)
    rows = latency.peak_rows(1)
    assert rows[0].case == "matrix product threads 1 fp32"
    assert len(rows) == 1 + torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert all(row.unit == "GFLOP/s" and row.value > 0 for row in rows)


def test_latency_goes_on_in_pieces(tmp_path, monkeypatch):
    measured: list[Case] = []

    def measure_one(case: Case, repeats: int, compiled: bool) -> list[Row]:
        measured.append(case)
        return _one_row(case, repeats, compiled)

    monkeypatch.setattr(latency, "measure", measure_one)
    monkeypatch.setattr(latency, "peak_rows", lambda threads: [Row(f"threads {threads}", "peak", 1.0, "GFLOP/s")])
    kept = tmp_path / "kept"
    latency.run(full=True, checkpoint=kept, resolution=(256,), batch=(1,))
    assert [(case.resolution, case.channel_base, case.batch, case.threads) for case in measured] == [
        (256, 16384, 1, 1), (256, 16384, 1, 2), (256, 32768, 1, 1), (256, 32768, 1, 2),
    ]  # fmt: skip
    rows = latency.run(full=True, checkpoint=kept, resolution=(64,))
    assert len(measured) == 12  # eight new ones, and none of the earlier
    assert sum(row.metric == "time" for row in rows) == 12
    latency.run(full=True, checkpoint=kept)
    assert len(measured) == len(set(measured)) == 40


def test_memory_of_a_case_does_not_count_a_larger_one_before_it(monkeypatch):
    monkeypatch.setattr(latency, "peers", lambda *_: {})

    def used() -> float:
        (row,) = (row for row in measure(small, 1, compiled=False) if row.metric == "memory" and "fp32" in row.case)
        return row.value

    small, before = Case(8, 64, threads=1), _native.get_threads()
    try:
        alone = used()
        measure(Case(32, 512, batch=4, threads=1), 1, compiled=False)
        assert used() == alone
    finally:
        _native.set_threads(before)


def test_memory_of_bfloat16_does_not_count_scratch_memory_of_float32(monkeypatch):
    monkeypatch.setattr(latency, "peers", lambda *_: {})
    case, before = Case(32, 512, threads=1), _native.get_threads()
    try:
        rows = measure(case, 1, compiled=False)
        latency._fresh_pool(1)
        network = make_network(32, 512).eval().requires_grad_(False)
        executor = PackedSynthesis(network.arrays(), precision="bf16")
        executor(np.zeros((1, network.config.num_ws, 512), np.float32))
    finally:
        _native.set_threads(before)
    (row,) = (row for row in rows if row.metric == "memory" and "bf16" in row.case)
    assert row.value == executor.weight_bytes + executor.working_bytes


@pytest.mark.slow
def test_latency_rows_compare_time_memory_and_error():
    pytest.importorskip("onnx")
    rows = measure(Case(8, 64, threads=1), 2, compiled=False)
    assert {row.metric for row in rows} == {"time", "memory", "relative error"}
    assert all(row.case.startswith("8/64 batch 1 threads 1 ") for row in rows)
