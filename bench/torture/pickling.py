"""Writes pickles instruction by instruction: look-alikes of published checkpoints, and whatever an attacker might."""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Name:
    """A global: module and name."""

    module: str
    name: str


@dataclass(frozen=True)
class Call:
    """``REDUCE``: a global called with arguments, and a state given to what it returns."""

    what: Name
    arguments: tuple[Any, ...] = ()
    state: Any = None


@dataclass(frozen=True)
class New:
    """``NEWOBJ``: an object of a class, and its state."""

    what: Name
    state: Any = None


@dataclass(frozen=True)
class Persistent:
    """``BINPERSID``: an id that the reader of the pickle resolves."""

    told: Any


@dataclass(frozen=True)
class Raw:
    """Instructions as they are."""

    code: bytes


def pickled(value: Any, protocol: int = 4) -> bytes:
    """A pickle of a value that may hold the classes above; nothing is memoised but what ``Raw`` memoises."""
    return b"\x80" + bytes([protocol]) + _encode(value, protocol) + b"."


def stored_inside(tensor: Tensor) -> bytes:
    """What PyTorch puts into a plain pickle for a tensor's storage: a whole stream of ``torch.save``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # storages with a type are deprecated, not their files
        data: bytes = tensor.detach().clone().storage().__reduce__()[1][0]  # type: ignore[no-untyped-call]
    return data


def tensor_call(storage: Any, tensor: Tensor, parameter: bool = False) -> Call:
    """A tensor over a storage, as a parameter or not."""
    none: tuple[Any, ...] = (Call(Name("collections", "OrderedDict")),)
    arguments = (storage, 0, tuple(tensor.shape), tuple(tensor.stride()), False, *none)
    made = Call(Name("torch._utils", "_rebuild_tensor_v2"), arguments)
    return Call(Name("torch._utils", "_rebuild_parameter"), (made, True, *none)) if parameter else made


def _encode(value: Any, protocol: int) -> bytes:  # noqa: PLR0911 - one kind a line
    if isinstance(value, Raw):
        return value.code
    if isinstance(value, Name):
        if protocol < 4:
            return b"c" + f"{value.module}\n{value.name}\n".encode()
        return _encode(value.module, 4) + _encode(value.name, 4) + b"\x93"
    if isinstance(value, Call):
        made = _encode(value.what, protocol) + _encode(value.arguments, protocol) + b"R"
        return made if value.state is None else made + _encode(value.state, protocol) + b"b"
    if isinstance(value, New):
        made = _encode(value.what, protocol) + b")\x81"
        return made if value.state is None else made + _encode(value.state, protocol) + b"b"
    if isinstance(value, Persistent):
        return _encode(value.told, protocol) + b"Q"
    return _encode_plain(value, protocol)


def _encode_plain(value: Any, protocol: int) -> bytes:  # noqa: PLR0911
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, int):
        if 0 <= value < 256:
            return b"K" + bytes([value])
        if -(2**31) <= value < 2**31:
            return b"J" + struct.pack("<i", value)
        size = value.bit_length() // 8 + 1
        return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        data = value.encode()
        return (b"\x8c" + bytes([len(data)]) if protocol >= 4 and len(data) < 256 else _sized(b"X", data)) + data
    if isinstance(value, bytes):
        return _sized(b"B", value) + value
    inner = b"".join(_encode(one, protocol) for one in _items(value))
    if isinstance(value, tuple):
        return b"(" + inner + b"t"
    if isinstance(value, list):
        return b"](" + inner + b"e"
    if isinstance(value, set):
        return b"\x8f(" + inner + b"\x90" if protocol >= 4 else b"cbuiltins\nset\n](" + inner + b"e\x85R"
    return b"}(" + inner + b"u"


def _items(value: Any) -> list[Any]:
    return [one for pair in value.items() for one in pair] if isinstance(value, dict) else list(value)


def _sized(code: bytes, data: bytes) -> bytes:
    return code + struct.pack("<I", len(data))
