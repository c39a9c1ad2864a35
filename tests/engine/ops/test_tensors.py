"""Tensors on their way to the native module."""

from __future__ import annotations

import numpy as np
import torch

from everface.engine.ops.tensors import obstacle, queued, real_type, share


def test_obstacles_name_type_and_device():
    assert obstacle("cpu", torch.ones(1)) == ""
    assert obstacle("cpu", torch.ones(1, dtype=torch.float16)) == "torch.float16 on cpu"
    assert obstacle("cuda", torch.ones(1)) == "torch.float32 on cpu"


def test_sums_are_taken_in_float32_or_float64():
    types = (torch.bfloat16, torch.float32, torch.float64)
    assert [real_type(dtype) for dtype in types] == [torch.float32, torch.float32, torch.float64]


def test_dense_memory_is_shared_and_gaps_are_closed():
    tensor = torch.arange(6.0).reshape(2, 3).requires_grad_()
    shared = torch.utils.dlpack.from_dlpack(share(tensor))
    assert shared.data_ptr() == tensor.data_ptr()
    np.testing.assert_array_equal(torch.utils.dlpack.from_dlpack(share(tensor.t())), tensor.detach().t())
    assert share(None) is None


def test_the_cpu_has_no_stream():
    with queued(torch.ones(1)) as stream:
        assert stream == 0
