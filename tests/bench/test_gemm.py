"""The comparison of matrix products: all implementations compute the same layer, and the rows say what was counted."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from everface.bench.baselines import convolutions
from everface.bench.baselines.convolutions import Shape
from everface.bench.baselines.xnnpack import XNNPACK_PACKAGES
from everface.bench.common import installed
from everface.bench.gemm import convolution_rows, peak_rows, shapes_of
from everface.engine.ops.modulated_conv.reference import modulated_conv2d_reference

SHAPES = [Shape("3x3", 6, 5, 7), Shape("3x3", 33, 8, 4), Shape("1x1", 5, 6, 3), Shape("2x up", 5, 6, 4)]


def _products(layer: convolutions._Layer) -> list[torch.Tensor]:
    """What the peers compute, by definition; the four phases side by side are the transposed convolution."""
    parts = [F.conv2d(layer.scaled().float(), weight, padding=padding) for weight, padding in layer.phases()]
    if layer.shape.up:
        whole = F.conv_transpose2d(layer.scaled().float(), layer.weight.transpose(0, 1), stride=2)
        for part, (row, column) in zip(parts, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
            torch.testing.assert_close(part, whole[:, :, row::2, column::2], rtol=1e-4, atol=1e-4)
    return parts


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_all_implementations_agree(shape, dtype, limit):
    layer = convolutions._Layer(shape, torch.float32)
    own, *peers = convolutions.convolutions(shape, dtype)
    whole = modulated_conv2d_reference(
        layer.x, layer.weight, layer.styles, layer.noise, torch.tensor(0.1), layer.bias, shape.up, True, 0.2, 2**0.5,
        float("inf"),
    )  # fmt: skip
    assert own.name.startswith("own-")
    for way, truth in ((own, [whole]), *((peer, _products(layer)) for peer in peers)):
        for result, wanted in zip(way.results(), truth, strict=True):
            assert torch.linalg.norm(result.float() - wanted) < limit * torch.linalg.norm(wanted), way.name


def test_onednn_and_xnnpack_are_there_in_float32():
    names = [way.name for way in convolutions.convolutions(SHAPES[0], torch.float32)]
    assert "onednn" in names
    assert ("xnnpack" in names) == (installed(*XNNPACK_PACKAGES) is None)


def test_products_of_each_algorithm():
    small, large = (convolutions.convolutions(Shape("3x3", side, 8, 8), torch.float32)[0] for side in (8, 16))
    assert small.products == (4 * 4) ** 2 * 64  # four tiles of F(2, 3) along each axis, four products each
    assert large.products == (4 * 6) ** 2 * 64  # four of F(4, 3), six products each
    assert convolutions.convolutions(Shape("2x up", 5, 8, 8), torch.float32)[0].products == (2 * 7) ** 2 * 64


def test_rows_of_a_tiny_layer():
    rows = convolution_rows("8/64", SHAPES[0], 2, {"fp32": 50.0, "bf16": 50.0})
    assert {row.metric for row in rows} == {"direct", "share of peak"}
    assert all(row.case.startswith("8/64 3x3 5->7 at 6 ") and row.value > 0 for row in rows)
    assert any(row.peer == "onednn" for row in rows)


def test_shapes_of_a_network():
    shapes = shapes_of(64, 16384)
    assert Shape("2x up", 32, 512, 256) in shapes
    assert Shape("3x3", 64, 256, 256) in shapes
    assert len(shapes) == len(set(shapes)) == 9


def test_the_peak_is_there_for_each_type_that_the_processor_multiplies() -> None:
    rows = peak_rows(1)
    assert rows[0].case == "matrix product threads 1 fp32"
    assert len(rows) == 1 + torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert all(row.unit == "GFLOP/s" and row.value > 0 for row in rows)
