"""The export benchmark on a tiny model: rows, peers, and that the peer computes the same pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.export.conftest import make_generator

from everface.bench.baselines.synthesis import grouped_synthesis
from everface.bench.export import Model, bundle_rows, measure


def tiny() -> Model:
    anchors = np.random.default_rng(0).standard_normal((5, 24), dtype=np.float32)
    return Model("16/128", make_generator(img_channels=3), anchors)


def test_the_reference_formulation_renders_the_same_pictures() -> None:
    generator = make_generator(conv_clamp=2.0)
    ws = torch.randn(3, 6, 24, generator=torch.Generator().manual_seed(1))
    wanted = generator.synthesis(ws)
    torch.testing.assert_close(grouped_synthesis(generator.synthesis, ws), wanted, atol=2e-5, rtol=1e-4)


@pytest.mark.slow
def test_rows_of_every_target_and_precision() -> None:
    rows = measure(tiny(), ("onnx", "ort"), 2)
    cases = {row.case for row in rows}
    portable = {f"16/128 {t} {p}" for t in ("onnx", "ort") for p in ("fp32", "fp16", "bf16", "int8")}
    assert cases == portable | {"16/128 custom fp32", "16/128 custom bf16"}
    assert {row.peer for row in rows if "custom" in row.case} >= {"torch-onnx-reference", "onnxruntime-fp32"}
    assert {"size", "load", "load and first image", "time", "max error"} <= {row.metric for row in rows}
    assert all(row.peer != "torch-onnx-reference" or row.ratio is not None for row in rows)


@pytest.mark.slow
def test_bundle_rows_know_their_bounds() -> None:
    rows = {row.metric: row for row in bundle_rows(tiny(), "fp32", 1)}
    assert rows["import, load and first image"].peer_value == 1.0
    assert rows["resident memory of the process"].peer_value == pytest.approx(2.5 * rows["size"].value)
    assert rows["resident memory beyond the imports"].value < rows["resident memory of the process"].value
