"""Networks that are built in memory compute what their layers say."""

from __future__ import annotations

import numpy as np

from everface.engine.onnx_network import NetworkBuilder, dequantised


def test_weights_are_scaled_by_channel() -> None:
    stored = {"w": np.array([[1, -2], [3, 4]], np.int8), "w.scale": np.array([0.5, 2], np.float32), "b": np.ones(2)}
    weights = dequantised(stored)
    np.testing.assert_array_equal(weights["w"], [[0.5, -1], [6, 8]])
    assert sorted(weights) == ["b", "w"] and weights["b"].dtype == np.float32


def test_group_norm_is_by_group() -> None:
    random = np.random.default_rng(0)
    gain, bias = (random.standard_normal(8).astype(np.float32) for _ in range(2))
    builder = NetworkBuilder({"n.weight": gain, "n.bias": bias})
    y = builder.silu(builder.group_norm("x", "n", 2))
    x = random.standard_normal((2, 8, 3, 3)).astype(np.float32)
    found = np.asarray(builder.session(y, (8, 3, 3), 1).run([y], {"x": x})[0])
    groups = x.reshape(2, 2, -1)
    normal = (groups - groups.mean(2, keepdims=True)) / np.sqrt(groups.var(2, keepdims=True) + 1e-5)
    z = normal.reshape(x.shape) * gain.reshape(1, -1, 1, 1) + bias.reshape(1, -1, 1, 1)
    np.testing.assert_allclose(found, z / (1 + np.exp(-z)), atol=1e-5)
