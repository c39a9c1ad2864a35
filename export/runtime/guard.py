"""Looks through an ONNX file before ONNX Runtime does: what it holds, and how large each of its values would become.

A graph passes if it uses a short list of operators, carries its weights inside (no external files), and no value of it
is larger than a picture of a large generator needs. Values are followed by their shapes, so a file of a few bytes that
would fill the memory is refused without trying. Reads protocol buffers by hand, since the package onnx is not needed to
run a bundle.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from everface.export.runtime.container import wrong

__all__ = ["check_graph"]

Shape = tuple[int, ...]
Payload = int | memoryview
MAX_ELEMENTS = 1 << 26  # of one value of one picture: 1024 x 1024 x 64 channels
_MAX_NODES = 4096
# Bytes an element: float32, uint8, int8, int32, int64, float16, bfloat16.
_SIZES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 10: 2, 16: 2}
_INT64 = 7
_SAME = {
    "Cast", "Clip", "DequantizeLinear", "Identity", "LeakyRelu", "QuantizeLinear", "Reciprocal", "Sqrt",
}  # fmt: skip
_BROADCAST = {"Add", "Sub", "Mul", "Div"}


def check_graph(data: bytes, inputs: dict[str, Shape], output: Shape, subject: str) -> None:
    """Raises IntegrityError unless the file is a graph that can be run without harm.

    Args:
        data: the ONNX file.
        inputs: names and shapes of what it takes, for one picture (without the batch's dimension where it has one).
        output: the shape of what it gives for one picture, the batch's dimension of 1 included.
        subject: what to call it.
    """
    try:
        graph = _read(memoryview(data))
        _follow(graph, dict(inputs), output)
    except _HarmfulError as error:
        raise wrong(subject, *error.args) from None
    except (IndexError, KeyError, ValueError, struct.error, OverflowError, UnicodeDecodeError) as error:
        raise wrong(subject, "a well-formed ONNX graph", f"{type(error).__name__} in it") from error


class _HarmfulError(Exception):
    """Expected and found."""


@dataclass
class _Node:
    op: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, list[int]] = field(default_factory=dict)


@dataclass
class _Graph:
    nodes: list[_Node] = field(default_factory=list)
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
    found: list[int] = []
    at = 0
    while at < len(value) and len(found) < 64:
        one, at = _varint(value, at)
        found.append(_signed(one))
    if at < len(value):
        raise ValueError("long list")
    return found


def _read(data: memoryview) -> _Graph:
    graphs = []
    for number, value in _fields(data):
        if number == 7:
            graphs.append(_read_graph(_bytes(value)))
        elif number == 8:
            domain = "".join(_text(text) for one, text in _fields(_bytes(value)) if one == 1)
            if domain not in ("", "ai.onnx"):
                raise _HarmfulError("standard operators alone", f"the domain {domain!r}")
        elif number not in (1, 2, 3, 4, 5, 6, 14):
            raise _HarmfulError("one plain graph", f"field {number}: functions, training or other extras")
    if len(graphs) != 1:
        raise _HarmfulError("one graph", str(len(graphs)))
    return graphs[0]


def _read_graph(data: memoryview) -> _Graph:
    graph = _Graph()
    for number, value in _fields(data):
        if number == 1:
            graph.nodes.append(_read_node(_bytes(value)))
            if len(graph.nodes) > _MAX_NODES:
                raise _HarmfulError(f"at most {_MAX_NODES} operators", "more")
        elif number == 5:
            name, constant = _read_tensor(_bytes(value))
            if name in graph.constants:
                raise _HarmfulError(f"one constant {name}", "two")
            graph.constants[name] = constant
        elif number in (11, 12):
            names = [_text(text) for one, text in _fields(_bytes(value)) if one == 1]
            (graph.inputs if number == 11 else graph.outputs).extend(names)
        elif number not in (2, 10, 13, 16):
            raise _HarmfulError("one plain graph", f"field {number}: sparse tensors or other extras")
    return graph


def _read_node(data: memoryview) -> _Node:
    node = _Node()
    for number, value in _fields(data):
        if number in (1, 2):
            (node.inputs if number == 1 else node.outputs).append(_text(value))
        elif number == 4:
            node.op = _text(value)
        elif number == 7:
            node.domain = _text(value)
        elif number == 5:
            name, numbers = _read_attribute(_bytes(value))
            node.attributes[name] = numbers
        elif number not in (3, 6, 9):
            raise _HarmfulError("plain operators", f"field {number} in one")
    if node.domain not in ("", "ai.onnx") or len(node.outputs) != 1:
        raise _HarmfulError("standard operators with one result", f"{node.domain}:{node.op}")
    return node


def _read_attribute(data: memoryview) -> tuple[str, list[int]]:
    name, numbers = "", []
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number in (3, 8):
            numbers += _numbers(value)
        elif number not in (2, 4, 7, 13, 20):
            raise _HarmfulError("attributes of numbers", f"one with a tensor or a graph inside: {name}")
    if len(numbers) > 64:
        raise ValueError("long list")
    return name, numbers


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
            raise _HarmfulError("weights inside the file", f"external data for {name or 'a constant'}")
        elif number not in (12, 14):
            raise _HarmfulError("constants as raw bytes", f"field {number} in {name or 'one'}")
    if kind not in _SIZES or len(shape) > 6 or any(one < 0 for one in shape):
        raise _HarmfulError("constants of numbers", f"{name}: type {kind}, shape {shape[:8]}")
    if math.prod(shape) * _SIZES[kind] != len(raw):
        raise _HarmfulError(f"{name}: {shape} of {_SIZES[kind]} bytes each", f"{len(raw)} bytes")
    return name, (tuple(shape), kind, raw)


def _follow(graph: _Graph, shapes: dict[str, Shape], output: Shape) -> None:
    """Shapes of all values of one picture."""
    given = [name for name in graph.inputs if name not in graph.constants]
    if set(given) != set(shapes) or len(given) != len(shapes) or len(graph.outputs) != 1:
        raise _HarmfulError(f"inputs {sorted(shapes)} and one output", f"{given[:4]}, {len(graph.outputs)} outputs")
    for name, (shape, _, _) in graph.constants.items():
        shapes[name] = shape
    for node in graph.nodes:
        at = [shapes[name] for name in node.inputs if name]
        rule = _RULES.get(node.op)
        if rule is None:
            raise _HarmfulError("operators of a generator", node.op[:40])
        if node.outputs[0] in shapes:
            raise _HarmfulError("a name for every value", f"{node.outputs[0][:40]} twice")
        shape = rule(node, at, graph)
        if any(one < 1 for one in shape) or math.prod(shape) > MAX_ELEMENTS:
            raise _HarmfulError(f"values of at most {MAX_ELEMENTS} numbers", f"{node.op} of shape {shape}")
        shapes[node.outputs[0]] = shape
    if shapes.get(graph.outputs[0]) != output:
        raise _HarmfulError(f"a result of shape {output}", str(shapes.get(graph.outputs[0])))


def _broadcast(_: _Node, at: list[Shape], __: _Graph) -> Shape:
    rank = max(len(one) for one in at)
    padded = [(1,) * (rank - len(one)) + one for one in at]
    out = tuple(max(column) for column in zip(*padded, strict=True))
    if any(one not in (1, wide) for shape in padded for one, wide in zip(shape, out, strict=True)):
        raise _HarmfulError("operands that fit", str(at))
    return out


def _product(node: _Node, at: list[Shape], _: _Graph) -> Shape:
    (n, k), (rows, m) = at[:2]
    if k != rows or node.attributes.keys() - {"alpha", "beta"}:
        raise _HarmfulError("matrices that fit", f"{at} {sorted(node.attributes)}")
    return n, m


def _convolution(node: _Node, at: list[Shape], _: _Graph) -> Shape:
    (n, channels, *sides), (a, b, *kernel) = at[:2]
    told = node.attributes
    group, pads = told.get("group", [1])[0], told.get("pads", [0] * 4)
    strides, dilations = told.get("strides", [1, 1]), told.get("dilations", [1, 1])
    small = all(0 <= one <= 16 for one in (*pads, *strides, *dilations, *kernel)) and min(*strides, *dilations) > 0
    unknown = told.keys() - {"group", "pads", "strides", "dilations", "kernel_shape", "auto_pad"}
    if unknown or not small or group < 1 or len(sides) != 2 or len(kernel) != 2 or len(pads) != 4:
        raise _HarmfulError("a plain convolution", f"{sorted(told)} {at}")
    reach = [dilation * (k - 1) + 1 for dilation, k in zip(dilations, kernel, strict=True)]
    if node.op == "Conv":
        if b * group != channels:
            raise _HarmfulError("weights that fit", str(at))
        grown = [(side + pads[i] + pads[i + 2] - reach[i]) // strides[i] + 1 for i, side in enumerate(sides)]
        return n, a, *grown
    if a != channels:
        raise _HarmfulError("weights that fit", str(at))
    grown = [(side - 1) * strides[i] + reach[i] - pads[i] - pads[i + 2] for i, side in enumerate(sides)]
    return n, b * group, *grown


def _integers(node: _Node, position: int, graph: _Graph) -> list[int]:
    """The value of an operand that has to be a constant."""
    _, kind, raw = graph.constants[node.inputs[position]]
    if kind != _INT64 or len(raw) > 64:
        raise _HarmfulError(f"whole numbers for {node.op}", "others")
    return list(struct.unpack(f"<{len(raw) // 8}q", raw))


def _unsqueeze(node: _Node, at: list[Shape], graph: _Graph) -> Shape:
    if _integers(node, 1, graph) != [2, 3] or len(at[0]) != 2:
        raise _HarmfulError("styles to be given two dimensions", str(at))
    return *at[0], 1, 1


def _gather(node: _Node, at: list[Shape], graph: _Graph) -> Shape:
    [index] = _integers(node, 1, graph)
    if node.attributes.get("axis") != [1] or len(at[0]) != 3 or at[1] != () or not 0 <= index < at[0][1]:
        raise _HarmfulError("one style to be taken", str(at))
    return at[0][0], at[0][2]


def _interleave(node: _Node, at: list[Shape], _: _Graph) -> Shape:
    (n, channels, height, width), [side] = at[0], node.attributes["blocksize"]
    if side != 2 or channels % 4:
        raise _HarmfulError("four phases", str(at))
    return n, channels // 4, 2 * height, 2 * width


_RULES: dict[str, Callable[[_Node, list[Shape], _Graph], Shape]] = {
    **dict.fromkeys(_SAME, lambda _, at, __: at[0]),
    **dict.fromkeys(_BROADCAST, _broadcast),
    **dict.fromkeys(("MatMul", "Gemm"), _product),
    **dict.fromkeys(("Conv", "ConvTranspose"), _convolution),
    "Unsqueeze": _unsqueeze,
    "Gather": _gather,
    "DepthToSpace": _interleave,
}
