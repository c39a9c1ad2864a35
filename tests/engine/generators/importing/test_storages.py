"""Torch's zip archives and streams, and tensors over storages: only what the file really holds can be read."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from everface.bench.torture.lookalikes import tiny_generator, zipped
from everface.bench.torture.pickling import Call, Name, Persistent, pickled, stored_inside
from everface.engine.errors import CheckpointError
from everface.engine.generators.importing.limits import Budget
from everface.engine.generators.importing.storages import read_pickle, read_stream, read_zip
from everface.engine.generators.importing.tensors import read_tensors

EMPTY = Call(Name("collections", "OrderedDict"))
TENSORS = {
    "plain": torch.randn(2, 3),
    "half": torch.randn(5).half(),
    "brain": torch.randn(4).bfloat16(),
    "double": torch.randn(2, 2).double(),
    "scalar": torch.tensor(3.5),
    "turned": torch.randn(3, 4).t(),
    "channels last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
    "part": torch.randn(10)[3:7],
    "parameter": torch.nn.Parameter(torch.randn(3)),
}


def saved(value: Any, **more: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, **more)
    return out.getvalue()


@pytest.mark.parametrize("zipped_", [True, False])
def test_what_torch_saves_is_read_back(zipped_: bool) -> None:
    data = saved(TENSORS, _use_new_zipfile_serialization=zipped_)
    found = (read_zip if zipped_ else read_stream)(memoryview(data), Budget())
    values = read_tensors(found, len(data))
    for name, tensor in TENSORS.items():
        np.testing.assert_array_equal(values[name], tensor.detach().float().numpy(), name)


def of_storage(numel: int, offset: Any, size: Any, stride: Any) -> bytes:
    storage = Persistent(("storage", Name("torch", "FloatStorage"), "0", "cpu", numel))
    tensor = Call(Name("torch._utils", "_rebuild_tensor_v2"), (storage, offset, size, stride, False, EMPTY))
    return zipped({"data.pkl": pickled({"x": tensor}, 2), "data/0": bytes(64), "version": b"3"})


@pytest.mark.parametrize(
    ("numel", "offset", "size", "stride", "match"),
    [
        (16, 1, (4, 4), (4, 1), "within its storage"),
        (16, 0, (4, 5), (4, 1), "within its storage"),
        (16, 0, (2, 2), (16, 1), "within its storage"),
        (16, 0, (1000,), (0,), "within its storage"),
        (16, 2**61, (1,), (1,), "within its storage"),
        (16, 0, (2**40, 2**40), (0, 0), "within its storage"),
        (16, 0, (0, 2**60), (1, 1), "within its storage"),
        (16, -1, (1,), (1,), "arguments"),
        (16, 0, (-4,), (-1,), "arguments"),
        (16, 0, (2, 2), (1,), "arguments"),
        (16, 0, (2.0,), (1,), "arguments"),
        (16, 0, (1,) * 9, (1,) * 9, "arguments"),
        (16, 0, (2**62,), (1,), "arguments"),
        (17, 0, (1,), (1,), "17 numbers"),
        (2**40, 0, (1,), (1,), "key and size of a storage"),
    ],
)
def test_a_tensor_lies_within_its_storage(numel: int, offset: Any, size: Any, stride: Any, match: str) -> None:
    data = of_storage(numel, offset, size, stride)
    with pytest.raises(CheckpointError, match=match):
        read_tensors(read_zip(memoryview(data), Budget()), len(data))


def test_the_stride_of_a_single_row_says_nothing() -> None:
    data = of_storage(16, 4, (1, 4), (2**61, 1))
    assert read_tensors(read_zip(memoryview(data), Budget()), len(data))["x"].shape == (1, 4)


def test_tensors_may_not_be_larger_together_than_the_file() -> None:
    tensor = torch.zeros(1000)
    data = saved({str(i): tensor for i in range(20)})
    with pytest.raises(CheckpointError, match="share storages"):
        read_tensors(read_zip(memoryview(data), Budget()), len(data))


def test_integers_are_no_weights() -> None:
    data = saved({"x": torch.arange(4)})
    with pytest.raises(CheckpointError, match="floating-point numbers in x, found int64"):
        read_tensors(read_zip(memoryview(data), Budget()), len(data))


def stream(system: Any, value: Any, keys: Any, tail: bytes) -> bytes:
    parts = (0x1950A86A20F9469CFC6C, 1001, system, value, keys)
    return b"".join(pickled(part, 2) for part in parts) + tail


STORAGE = Persistent(("storage", Name("torch", "FloatStorage"), "0", "cpu", 4))
VIEW = Persistent(("storage", Name("torch", "FloatStorage"), "0", "cpu", 4, ("1", 0, 4)))
LITTLE = {"little_endian": True}


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (stream({"little_endian": False}, STORAGE, ["0"], bytes(24)), "big-endian"),
        (stream({}, STORAGE, ["0"], bytes(24)), "big-endian"),
        (stream(LITTLE, STORAGE, ["1"], bytes(24)), "each storage once"),
        (stream(LITTLE, STORAGE, [], bytes(24)), "keys of 1 storages"),
        (stream(LITTLE, STORAGE, ["0", "0"], bytes(24)), "keys of 1 storages"),
        (stream(LITTLE, STORAGE, ["0"], struct.pack("<Q", 5) + bytes(20)), "storage of 4 numbers"),
        (stream(LITTLE, STORAGE, ["0"], struct.pack("<Q", 4) + bytes(15)), "end of the file"),
        (stream(LITTLE, VIEW, ["0"], struct.pack("<Q", 4) + bytes(16)), "view of another"),
        (pickled(1, 2) * 5, "header that torch.save writes"),
    ],
)
def test_streams_that_torch_does_not_write(data: bytes, match: str) -> None:
    with pytest.raises(CheckpointError, match=match):
        read_stream(memoryview(data), Budget())
    inside = pickled(Call(Name("torch.storage", "_load_from_bytes"), (data,)), 3)
    with pytest.raises(CheckpointError, match=match):
        read_pickle(memoryview(inside), Budget())


def test_no_pickle_in_a_pickle_in_a_pickle() -> None:
    inner = Call(Name("torch.storage", "_load_from_bytes"), (stored_inside(torch.zeros(2)),))
    assert read_pickle(memoryview(pickled(inner, 3)), Budget()).numel == 2
    data = stream(LITTLE, inner, [], b"")
    with pytest.raises(CheckpointError, match="pickle in a pickle"):
        read_pickle(memoryview(pickled(Call(Name("torch.storage", "_load_from_bytes"), (data,)), 3)), Budget())


def test_a_class_saved_with_its_source_is_only_a_name(tmp_path: Path) -> None:
    kind = Persistent(("module", Name("torch.nn.modules.linear", "Linear"), "file.py", "raise SystemExit"))
    found = read_stream(memoryview(stream(LITTLE, [kind], [], b"")), Budget())
    assert found[0].name == "Linear"
    assert tiny_generator().config.resolution == 8
