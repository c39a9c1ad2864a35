"""Networks that are built in memory compute what their layers say."""

from __future__ import annotations

import numpy as np

from everface.engine.onnx_network import NetworkBuilder, dequantised


def test_weights_are_scaled_by_channel() -> None:
    stored = {"w": np.array([[1, -2], [3, 4]], np.int8), "w.scale": np.array([0.5, 2], np.float32), "b": np.ones(2)}
    weights = dequantised(stored)
    np.testing.assert_array_equal(weights["w"], [[0.5, -1], [6, 8]])
    assert sorted(weights) == ["b", "w"] and weights["b"].dtype == np.float32


def test_a_convolution_is_that_of_its_weights() -> None:
    random = np.random.default_rng(0)
    weight, bias = random.standard_normal((4, 3, 1, 1)).astype(np.float32), np.arange(4, dtype=np.float32)
    builder = NetworkBuilder({"c.weight": weight, "c.bias": bias})
    y = builder.node("Add", builder.conv("x", "c", stride=2), builder.constant(np.float32([1])))
    x = random.standard_normal((2, 3, 4, 4)).astype(np.float32)
    found = np.asarray(builder.session(y, (3, 4, 4), 1).run([y], {"x": x})[0])
    expected = np.einsum("oc,nchw->nohw", weight[:, :, 0, 0], x[:, :, ::2, ::2]) + bias[None, :, None, None] + 1
    np.testing.assert_allclose(found, expected, atol=1e-5)
