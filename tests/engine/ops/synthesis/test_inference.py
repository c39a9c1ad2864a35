"""Packed networks: their images are the plain network's, whatever the batch, and arguments are named where wrong."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from tests.engine.ops.synthesis.networks import W_DIM, small_network

from everface.engine.errors import MissingBackendError, UsageError
from everface.engine.ops.synthesis.inference import PackedSynthesis


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_batches_of_any_size(precision):
    network = small_network(resolution=64)
    packed = PackedSynthesis(network.arrays(), precision=precision)
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    for batch in (1, 3, 0, 2):
        ws = torch.randn(batch, network.config.num_ws, W_DIM)
        with torch.no_grad():
            truth = network.double()(ws.double())
            network.float()
            plain = network(ws, dtype=dtype)
        image = torch.from_numpy(packed(ws.numpy()))
        assert image.shape == truth.shape
        limit = 1e-5 * truth.norm() if precision == "fp32" else 2 * (plain - truth).norm()
        assert (image - truth).norm() <= limit
    assert packed.weight_bytes > 0


def test_one_style_for_every_layer_into_the_same_array():
    packed = PackedSynthesis(small_network().arrays())
    w = np.random.default_rng(0).standard_normal((2, W_DIM)).astype(np.float32)
    out = np.empty((2, 3, 32, 32), np.float32)
    assert packed(w, out) is out
    before = packed.working_bytes
    again = packed(np.repeat(w[:, None], packed.num_ws, axis=1))
    assert packed.working_bytes == before  # nothing is allocated for activations
    np.testing.assert_array_equal(out, again)


def test_weights_are_a_snapshot():
    network = small_network()
    packed = PackedSynthesis(network.arrays())
    w = np.ones((1, W_DIM), np.float32)
    before = packed(w)
    with torch.no_grad():
        network.b4.const.zero_()
    np.testing.assert_array_equal(packed(w), before)


def test_wrong_arguments_are_named():
    arrays = small_network().arrays()
    packed = PackedSynthesis(arrays)
    with pytest.raises(UsageError, match=r"^precision"):
        PackedSynthesis(arrays, precision="int8")
    with pytest.raises(MissingBackendError, match="up to 4 colours, found 32"):
        PackedSynthesis(small_network(colours=32).arrays())
    with pytest.raises(UsageError, match=r"weights: constant: expected float32 or float64, found another type"):
        PackedSynthesis(arrays.convert(lambda array: array.astype(np.float16)))
    with pytest.raises(UsageError, match=r"^ws"):
        packed(np.zeros((1, 3, W_DIM)))
    w = np.zeros((1, W_DIM))
    for out in (np.empty((1, 3, 32, 32)), np.empty((2, 3, 32, 32), np.float32), np.empty((1, 3, 32, 64), np.float32)):
        with pytest.raises(UsageError, match=r"^out: expected writable float32 \[1, 3, 32, 32\]"):
            packed(w, out[..., :32])


def test_inference_needs_no_torch():
    program = "import sys; import everface.engine.ops.synthesis.inference; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
