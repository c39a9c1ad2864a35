"""Keys that a pickle may use, and instructions that no machine has."""

from __future__ import annotations

import pickle
import pickletools

import pytest

from everface.engine.errors import CheckpointError
from everface.engine.generators.importing.instructions import INSTRUCTIONS, key_of


@pytest.mark.parametrize("key", [None, "name", "x" * 4096, 0, -65535, True])
def test_small_plain_keys(key: object) -> None:
    assert key_of(key) is key


@pytest.mark.parametrize("key", ["x" * 4097, 1 << 16, -(1 << 70), 1.5, (1, 2), b"x", frozenset()])
def test_keys_that_could_be_costly_are_refused(key: object) -> None:
    with pytest.raises(CheckpointError, match="short text as keys"):
        key_of(key)


def test_what_imports_or_calls_by_other_ways_has_no_instruction() -> None:
    codes = {code.name: ord(code.code) for code in pickletools.opcodes}
    for name in ("INST", "OBJ", "EXT1", "EXT2", "EXT4", "NEWOBJ_EX", "PERSID", "BYTEARRAY8", "NEXT_BUFFER"):
        assert codes[name] not in INSTRUCTIONS
    assert INSTRUCTIONS.keys() <= set(codes.values())
    used = {ord(code.code) for code, _, _ in pickletools.genops(pickle.dumps({"a": [1, 2.0, "b", (None, True)]}, 4))}
    assert used - {ord(".")} <= INSTRUCTIONS.keys()
