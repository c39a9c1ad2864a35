"""The pickle machine: real pickles are read as Python reads them, and everything else is refused at small cost."""

from __future__ import annotations

import pickle
import struct
import time
import tracemalloc
from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everface.bench.torture.pickling import Call, Name, New, Persistent, Raw, pickled
from everface.engine.errors import CheckpointError
from everface.engine.generators.importing.limits import Budget
from everface.engine.generators.importing.machine import Machine
from everface.engine.generators.importing.names import AllowList
from everface.engine.generators.importing.values import Record

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.floats(allow_nan=False) | st.text(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=9), inner, max_size=5)
        | st.sets(st.integers(0, 60000), max_size=4)
    ),
    max_leaves=20,
)


def run(data: bytes, steps: int = 100_000) -> Any:
    return Machine(memoryview(data), AllowList(), Budget(steps)).run()[0]


@given(plain, st.integers(2, 5))
@settings(max_examples=60, deadline=None)
def test_plain_values_are_read_as_python_reads_them(value: Any, protocol: int) -> None:
    assert run(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_bytes_long_lists_and_shared_values(protocol: int) -> None:
    shared = ["shared"]
    value = {"a": shared, "b": shared, "many": list(range(3000)), "ordered": OrderedDict(x=1, y=(2,))}
    found = run(pickle.dumps(value, protocol))
    assert found == {**value, "ordered": {"x": 1, "y": (2,)}}
    assert found["a"] is found["b"]
    assert bytes(run(pickle.dumps(b"\0\xffabc", protocol))) == b"\0\xffabc"


def test_numpy_numbers_become_plain_ones() -> None:
    np = pytest.importorskip("numpy")
    for protocol in (2, 4):
        assert run(pickle.dumps([np.float64(1.5), np.int32(-7), np.float32(0.25)], protocol)) == [1.5, -7, 0.25]


def test_objects_are_records_and_sources_are_dropped() -> None:
    meta = {"type": "class", "version": 6, "module_src": "raise SystemExit", "class_name": "X", "state": {"a": 1}}
    assert run(pickled(Call(Name("torch_utils.persistence", "_reconstruct_persistent_obj"), (meta,)))) == Record(
        "X", {"a": 1}
    )
    assert run(pickled(New(Name("torch.nn.modules.activation", "Softplus"), {"beta": 1}))) == Record(
        "Softplus", {"beta": 1}
    )


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (Call(Name("os", "system"), ("true",)), "the name os.system"),
        (Call(Name("builtins", "eval"), ("1",)), "the name builtins.eval"),
        (Call(Name("builtins", "getattr"), ("a", "b")), "the name builtins.getattr"),
        (Name("torch.nn.modules.module", "Module.__init__"), "the name torch.nn"),
        (Name("torch", "load"), "the name torch.load"),
        (Call(Name("torch.storage", "_load_from_bytes"), (b"x",)), "bytes of a storage"),
        (Call(Name("torch", "FloatStorage"), (4,)), "may be called"),
        (Call(Name("torch._utils", "_rebuild_tensor_v2"), ("x",)), "arguments of _rebuild_tensor_v2"),
        (Call(Name("copyreg", "_reconstructor"), (Name("torch", "FloatStorage"), Name("builtins", "object"), None)),
         "arguments of _reconstructor"),
        (New(Name("builtins", "object")), "class of NVIDIA's networks"),
        (Persistent(("storage",)), "persistent ids"),
        (Raw(b"(S'x'\nios\nsystem\n"), "instruction 0x53"),
        (Raw(b"(cos\nsystem\no"), "the name os.system"),
        (Raw(b"(X\x01\0\0\0xo"), "instruction 0x6f"),
        (Raw(b"\x82\x01"), "instruction 0x82"),
        (Raw(b"N)\x81"), "class of NVIDIA's"),
        (Raw(b"K\x01K\x02b"), "without a state"),
        (Raw(b"Nr\xff\xff\xff\xff0j\xfe\xff\xff\xff"), "reference to value 4294967294"),
        (Raw(b"(" * 1001), "levels of nesting"),
        (Raw(b"N" * 100_001), "stack"),
        (Raw(b"\x8b\xff\xff\xff\x7f"), "integers up to"),
        (Raw(b"\x8e" + b"\xff" * 8), "a whole file"),
        (Raw(b"\x95" + b"\xff" * 8), "a frame"),
        (Raw(b"X" + struct.pack("<I", 1 << 20) + b"x"), "a whole file"),
        (Raw(b"cos" + b"x" * 600 + b"\n"), "line without end"),
        (Raw(b"a"), "without its operand"),
        (Raw(b"t"), "without its mark"),
        (Raw(b"NN"), "left over"),
        (Raw(b"}]Ns"), "short text as keys, found list"),
        (Raw(b"}N\x85Ns"), "short text as keys, found tuple"),
        (Raw(b"}\x8a\x05\0\0\0\0\x01Ns"), "short text as keys, found int"),
        (Raw(b"\x8f(]\x90"), "short text as keys"),
        (Raw(b"\x80\x06"), "protocol 6"),
    ],
)  # fmt: skip
def test_what_is_not_on_the_list_is_refused(value: Any, match: str) -> None:
    for protocol in (2, 4):
        with pytest.raises(CheckpointError, match=match):
            run(pickled(value, protocol), 300_000)


def test_steps_are_bounded_and_so_are_time_and_memory() -> None:
    for piece in (b"\x8f0", b"]0", b"}q\x000", b"N\x940"):
        data = b"\x80\x04" + piece * 1_000_000 + b"N."
        tracemalloc.start()
        started = time.process_time()
        with pytest.raises(CheckpointError, match="steps"):
            run(data, 50_000)
        assert time.process_time() - started < 3
        assert tracemalloc.get_traced_memory()[1] < 30e6
        tracemalloc.stop()


def test_work_on_a_shared_value_is_paid_for_each_time() -> None:
    # A thousand sets of one list of a thousand: a million members.
    many = b"](" + b"K\x01" * 1000 + b"eq\x00" + b"cbuiltins\nset\nh\x00\x85R" * 1000
    with pytest.raises(CheckpointError, match="steps"):
        run(b"\x80\x02" + many + b".", 100_000)


def test_truncation_anywhere_is_refused() -> None:
    data = pickle.dumps({"a": [1, 2.5, "x" * 300, b"yy"], "b": (None, True, {1, 2})}, 4)
    for size in range(len(data)):
        with pytest.raises(CheckpointError):
            run(data[:size])
