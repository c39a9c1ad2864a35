"""Reads an ONNX file far enough to judge it: nodes, numbers among their attributes, constants, names.

Protocol buffers are read by hand, since the package onnx is not needed to run a bundle. What no generator's graph has
(functions, subgraphs, external data, sparse tensors) is refused here.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

Shape = tuple[int, ...]
Payload = int | memoryview
_MAX_NODES = 4096
_STANDARD = ("", "ai.onnx")
FLOAT, INT64 = 1, 7
# Bytes an element: float32, uint8, int8, int32, int64, float16, bfloat16.
SIZES = {FLOAT: 4, 2: 1, 3: 1, 6: 4, INT64: 8, 10: 2, 16: 2}


class HarmfulError(Exception):
    """Expected and found."""


@dataclass
class Node:
    """An operator; an attribute is whole numbers, one real number, or (text, lists of reals) neither."""

    op: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, list[int]] = field(default_factory=dict)
    reals: dict[str, float] = field(default_factory=dict)


@dataclass
class Graph:
    """The main graph: constants by name as shape, ONNX element type and bytes."""

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, tuple[Shape, int, memoryview]] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value & (1 << 64) - 1, at
    raise ValueError("varint")


def _fields(data: memoryview) -> Iterator[tuple[int, Payload]]:
    """Numbers and payloads of a message's fields."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        size = 4 if kind == 5 else 8
        if kind == 2:
            size, at = _varint(data, at)
        elif kind not in (1, 5):
            raise ValueError("wire type")
        if at + size > len(data):
            raise ValueError("truncated")
        yield key >> 3, data[at : at + size]
        at += size


def _bytes(value: Payload) -> memoryview:
    if isinstance(value, int):
        raise ValueError("number")
    return value


def _text(value: Payload) -> str:
    return bytes(_bytes(value)[:256]).decode()


def _signed(value: Payload) -> int:
    if not isinstance(value, int):
        raise ValueError("bytes")
    return value - (1 << 64) if value >> 63 else value


def _numbers(value: Payload) -> list[int]:
    """One number, or a packed list of at most 64."""
    if isinstance(value, int):
        return [_signed(value)]
    numbers: list[int] = []
    at = 0
    while at < len(value) and len(numbers) < 64:
        number, at = _varint(value, at)
        numbers.append(_signed(number))
    if at < len(value):
        raise ValueError("long list")
    return numbers


def read_graph(data: memoryview, domains: Mapping[str, int]) -> Graph:
    """The one graph of a file.

    Args:
        data: the file.
        domains: versions of the operator sets beside ONNX's own that it may import.

    Raises:
        HarmfulError: it has what no generator's graph needs.
        IndexError, ValueError, struct.error, UnicodeDecodeError: not an ONNX file.
    """
    graphs = []
    known: set[str] = set()
    for number, value in _fields(data):
        if number == 7:
            graphs.append(_bytes(value))
        elif number == 8:
            known.add(_import(_bytes(value), domains))
        elif number not in (1, 2, 3, 4, 5, 6, 14):
            raise HarmfulError("one plain graph", f"field {number}: functions, training or other extras")
    if len(graphs) != 1:
        raise HarmfulError("one graph", str(len(graphs)))
    return _graph(graphs[0], known)


def _import(data: memoryview, domains: Mapping[str, int]) -> str:
    domain, version = "", 0
    for number, value in _fields(data):
        if number == 1:
            domain += _text(value)
        elif number == 2:
            version = _signed(value)
    if domain in _STANDARD:
        return ""
    if domains.get(domain) != version:
        wanted = "".join(f" and {name} {number}" for name, number in domains.items())
        raise HarmfulError(f"standard operators{wanted or ' alone'}", f"the domain {domain!r}, version {version}")
    return domain


def _graph(data: memoryview, domains: set[str]) -> Graph:
    graph = Graph()
    for number, value in _fields(data):
        if number == 1:
            graph.nodes.append(_read_node(_bytes(value), domains))
            if len(graph.nodes) > _MAX_NODES:
                raise HarmfulError(f"at most {_MAX_NODES} operators", "more")
        elif number == 5:
            name, constant = _read_tensor(_bytes(value))
            if name in graph.constants:
                raise HarmfulError(f"one constant {name}", "two")
            graph.constants[name] = constant
        elif number in (11, 12):
            names = [_text(text) for kind, text in _fields(_bytes(value)) if kind == 1]
            (graph.inputs if number == 11 else graph.outputs).extend(names)
        elif number not in (2, 10, 13, 16):
            raise HarmfulError("one plain graph", f"field {number}: sparse tensors or other extras")
    return graph


def _read_node(data: memoryview, domains: set[str]) -> Node:
    node = Node()
    for number, value in _fields(data):
        if number in (1, 2):
            (node.inputs if number == 1 else node.outputs).append(_text(value))
        elif number == 4:
            node.op = _text(value)
        elif number == 7:
            node.domain = _text(value)
        elif number == 5:
            _read_attribute(_bytes(value), node)
        elif number not in (3, 6, 9):
            raise HarmfulError("plain operators", f"field {number} in one")
    node.domain = "" if node.domain in _STANDARD else node.domain
    results = 2 if node.op == "TopK" else 1
    if (node.domain and node.domain not in domains) or len(node.outputs) != results:
        raise HarmfulError("standard operators with one result", f"{node.domain}:{node.op}")
    return node


def _read_attribute(data: memoryview, node: Node) -> None:
    name, real, fields = "", 0.0, set()
    numbers: list[int] = []
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            [real] = struct.unpack("<f", _bytes(value))
        elif number in (3, 8):
            numbers += _numbers(value)
        elif number not in (4, 7, 13, 20):
            raise HarmfulError("attributes of numbers", f"one with a tensor or a graph inside: {name}")
        fields.add(number)
    if len(numbers) > 64:
        raise ValueError("long list")
    # Of a second value, or a second attribute of the name, this reader and ONNX Runtime could choose another.
    if name in node.attributes or len(fields & {2, 3, 4, 7, 8}) > 1:
        raise HarmfulError("one value an attribute", f"several for {name}")
    node.attributes[name] = numbers
    if 2 in fields:
        node.reals[name] = real


def _read_tensor(data: memoryview) -> tuple[str, tuple[Shape, int, memoryview]]:
    name, shape, kind, raw = "", [], 0, memoryview(b"")
    for number, value in _fields(data):
        if number == 1:
            shape += _numbers(value)
        elif number == 2:
            kind = _signed(value)
        elif number == 8:
            name = _text(value)
        elif number == 9:
            raw = _bytes(value)
        elif number == 13 or (number == 14 and value):
            raise HarmfulError("weights inside the file", f"external data for {name or 'a constant'}")
        elif number not in (12, 14):
            raise HarmfulError("constants as raw bytes", f"field {number} in {name or 'one'}")
    if kind not in SIZES or len(shape) > 6 or any(size < 0 for size in shape):
        raise HarmfulError("constants of numbers", f"{name}: type {kind}, shape {shape[:8]}")
    if math.prod(shape) * SIZES[kind] != len(raw):
        raise HarmfulError(f"{name}: {shape} of {SIZES[kind]} bytes each", f"{len(raw)} bytes")
    return name, (tuple(shape), kind, raw)
