"""Weight files as NumPy arrays: types, order, what is refused, and that no PyTorch is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from everface.engine.errors import CheckpointError
from everface.engine.generators.weights import check_shapes, finite_float32, pack_arrays, read_arrays, read_metadata


def test_arrays_and_text_come_back() -> None:
    arrays = {
        "b": np.arange(6, dtype=np.float16).reshape(2, 3).T,
        "a": np.float32(2.5),
        "c": np.arange(3, dtype=np.int8),
    }
    data = pack_arrays(arrays, {"terms": "mine", "kind": "x"})
    assert data == pack_arrays(dict(reversed(arrays.items())), {"kind": "x", "terms": "mine"})
    assert read_metadata(data, "file") == {"terms": "mine", "kind": "x"}
    back = read_arrays(data, "file")
    assert {name: (array.dtype, array.shape) for name, array in back.items()} == {
        "a": (np.float32, ()), "b": (np.float16, (3, 2)), "c": (np.int8, (3,)),
    }  # fmt: skip
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)


def test_bfloat16_is_read_exactly() -> None:
    values = torch.randn(5, 7, generator=torch.Generator().manual_seed(1)).bfloat16()
    back = read_arrays(bytes(save({"x": values})), "file")["x"]
    np.testing.assert_array_equal(back, values.float().numpy())


def test_numbers_of_unknown_types_are_refused() -> None:
    data = bytes(save({"x": torch.zeros(4).to(torch.float8_e5m2)}))
    with pytest.raises(CheckpointError, match="safetensors"):
        read_arrays(data, "file")


def test_what_is_not_finite_is_neither_written_nor_used() -> None:
    with pytest.raises(CheckpointError, match="finite"):
        pack_arrays({"a": np.array([np.inf])}, {})
    with pytest.raises(CheckpointError, match="finite"):
        finite_float32({"a": np.array([np.nan], np.float16)}, "file")
    with pytest.raises(CheckpointError, match="floating-point"):
        finite_float32({"a": np.arange(3)}, "file")


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({}, "none named a"),
        ({"a": np.zeros(2), "b": np.zeros(1)}, "one more, b"),
        ({"a": np.zeros(3)}, r"\(3,\)"),
        ({"a": np.zeros(2, int)}, "int64"),
    ],
)
def test_other_names_shapes_and_types_are_refused(arrays: dict[str, np.ndarray], told: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(CheckpointError, match=told):
        check_shapes({"a": (2,)}, arrays, "file")


def test_weights_and_factors_are_read_without_pytorch(tiny_base: Path) -> None:
    program = f"""
import sys
from everface.engine.generators.bases import load_base
from everface.engine.generators.lora_weights import LoRAConfig, LoRAWeights
base = load_base({str(tiny_base)!r})
shapes = {{name: array.shape for name, array in base.weights.parameters().items()}}
lora = LoRAWeights.create(shapes, LoRAConfig(2))
again = LoRAWeights.from_bytes(lora.to_bytes(base.sha256), shapes, base.sha256)
again.merged(base.weights.arrays)
base.weights.cut(8).to_bytes(base.metadata)
sys.exit("torch" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
