"""Sizes that follow from a network's arrays, and their order."""

from __future__ import annotations

import numpy as np
from tests.engine.ops.synthesis.networks import W_DIM, small_network


def test_sizes_are_those_of_the_network():
    network = small_network(colours=2)
    weights = network.weights()
    assert (weights.resolution, weights.num_ws, weights.w_dim, weights.colours) == (32, 8, W_DIM, 2)
    assert [layer.name for layer in weights.layers[:4]] == ["b4.conv1", "b4.torgb", "b8.conv0", "b8.conv1"]


def test_all_parameters_are_there_once_and_keep_their_memory():
    network = small_network()
    parameters = network.weights().parameters()
    assert {id(one) for one in parameters} == {id(one) for one in network.parameters()}
    assert len(parameters) == len(list(network.parameters()))


def test_converted_weights_are_arrays_of_the_same_memory():
    network = small_network()
    arrays = network.arrays()
    assert all(isinstance(array, np.ndarray) for array in arrays.parameters())
    assert arrays.constant.ctypes.data == network.b4.const.data_ptr()
    assert arrays.layers[0].noise is not None and arrays.layers[1].noise is None
