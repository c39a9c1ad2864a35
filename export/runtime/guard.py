"""Looks through an ONNX file before ONNX Runtime does: what it holds, and how large each of its values would become.

A graph passes if it uses a short list of operators, carries its weights inside (no external files), and no value of it
is larger than a picture of a large generator needs. Values are followed by their shapes, so a file of a few bytes that
would fill the memory is refused without trying. Everface's own operators pass where the manifest says that the bundle
needs them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

from everface.export.runtime.container import wrong
from everface.export.runtime.graph_file import INT64, SIZES, Graph, HarmfulError, Node, Shape, read_graph
from everface.export.runtime.operators import CUSTOM_DOMAIN, OPERATOR_RULES, OPERATORS_VERSION

__all__ = ["check_graph"]

MAX_ELEMENTS = 1 << 26  # of one value of one picture: 1024 x 1024 x 64 channels
# Each may take some memory of its own, however small; a generator of 1024 pixels has 26.
_MAX_CUSTOM = 64
_SAME = {"Clip", "DequantizeLinear", "Identity", "LeakyRelu", "QuantizeLinear", "Reciprocal", "Sqrt"}
_BROADCAST = {"Add", "Sub", "Mul", "Div"}


def check_graph(data: bytes, inputs: dict[str, Shape], output: Shape, subject: str, *, operators: bool = False) -> bool:
    """Raises IntegrityError unless the file is a graph that can be run without harm.

    Args:
        data: the ONNX file.
        inputs: names and shapes of what it takes, for one picture (without the batch's dimension where it has one).
        output: the shape of what it gives for one picture, the batch's dimension of 1 included.
        subject: what to call it.
        operators: whether everface's own operators may be in it.

    Returns:
        Whether they are.
    """
    try:
        graph = read_graph(memoryview(data), {CUSTOM_DOMAIN: OPERATORS_VERSION} if operators else {})
        _follow(graph, dict(inputs), output)
    except HarmfulError as error:
        raise wrong(subject, *error.args) from None
    except (IndexError, KeyError, ValueError, struct.error, OverflowError, UnicodeDecodeError) as error:
        raise wrong(subject, "a well-formed ONNX graph", f"{type(error).__name__} in it") from error
    return any(node.domain for node in graph.nodes)


def _follow(graph: Graph, shapes: dict[str, Shape], output: Shape) -> None:
    """Shapes of all values of one picture."""
    given = [name for name in graph.inputs if name not in graph.constants]
    if set(given) != set(shapes) or len(given) != len(shapes) or len(graph.outputs) != 1:
        raise HarmfulError(f"inputs {sorted(shapes)} and one output", f"{given[:4]}, {len(graph.outputs)} outputs")
    for name, (shape, _, _) in graph.constants.items():
        shapes[name] = shape
    if sum(node.domain != "" for node in graph.nodes) > _MAX_CUSTOM:
        raise HarmfulError(f"at most {_MAX_CUSTOM} operators of {CUSTOM_DOMAIN}", "more")
    for node in graph.nodes:
        at = [shapes[name] for name in node.inputs if name]
        rule = (OPERATOR_RULES if node.domain else _RULES).get(node.op)
        if rule is None:
            raise HarmfulError("operators of a generator", node.op[:40])
        if node.outputs[0] in shapes:
            raise HarmfulError("a name for every value", f"{node.outputs[0][:40]} twice")
        shape = rule(node, at, graph)
        if any(one < 1 for one in shape) or math.prod(shape) > MAX_ELEMENTS:
            raise HarmfulError(f"values of at most {MAX_ELEMENTS} numbers", f"{node.op} of shape {shape}")
        shapes[node.outputs[0]] = shape
    if shapes.get(graph.outputs[0]) != output:
        raise HarmfulError(f"a result of shape {output}", str(shapes.get(graph.outputs[0])))


def _cast(node: Node, at: list[Shape], _: Graph) -> Shape:
    [kind] = node.attributes["to"]
    if kind not in SIZES:
        raise HarmfulError("a cast to numbers", f"element type {kind}")
    return at[0]


def _broadcast(_: Node, at: list[Shape], __: Graph) -> Shape:
    rank = max(len(one) for one in at)
    padded = [(1,) * (rank - len(one)) + one for one in at]
    out = tuple(max(column) for column in zip(*padded, strict=True))
    if any(one not in (1, wide) for shape in padded for one, wide in zip(shape, out, strict=True)):
        raise HarmfulError("operands that fit", str(at))
    return out


def _product(node: Node, at: list[Shape], _: Graph) -> Shape:
    (n, k), (rows, m) = at[:2]
    if k != rows or node.attributes.keys() - {"alpha", "beta"}:
        raise HarmfulError("matrices that fit", f"{at} {sorted(node.attributes)}")
    return n, m


def _convolution(node: Node, at: list[Shape], _: Graph) -> Shape:
    (n, channels, *sides), (a, b, *kernel) = at[:2]
    told = node.attributes
    group, pads = told.get("group", [1])[0], told.get("pads", [0] * 4)
    strides, dilations = told.get("strides", [1, 1]), told.get("dilations", [1, 1])
    small = all(0 <= one <= 16 for one in (*pads, *strides, *dilations, *kernel)) and min(*strides, *dilations) > 0
    unknown = told.keys() - {"group", "pads", "strides", "dilations", "kernel_shape", "auto_pad"}
    if unknown or not small or group < 1 or len(sides) != 2 or len(kernel) != 2 or len(pads) != 4:
        raise HarmfulError("a plain convolution", f"{sorted(told)} {at}")
    reach = [dilation * (k - 1) + 1 for dilation, k in zip(dilations, kernel, strict=True)]
    if node.op == "Conv":
        if b * group != channels:
            raise HarmfulError("weights that fit", str(at))
        grown = [(side + pads[i] + pads[i + 2] - reach[i]) // strides[i] + 1 for i, side in enumerate(sides)]
        return n, a, *grown
    if a != channels:
        raise HarmfulError("weights that fit", str(at))
    grown = [(side - 1) * strides[i] + reach[i] - pads[i] - pads[i + 2] for i, side in enumerate(sides)]
    return n, b * group, *grown


def _integers(node: Node, position: int, graph: Graph) -> list[int]:
    """The value of an operand that has to be a constant."""
    _, kind, raw = graph.constants[node.inputs[position]]
    if kind != INT64 or len(raw) > 64:
        raise HarmfulError(f"whole numbers for {node.op}", "others")
    return list(struct.unpack(f"<{len(raw) // 8}q", raw))


def _unsqueeze(node: Node, at: list[Shape], graph: Graph) -> Shape:
    if _integers(node, 1, graph) != [2, 3] or len(at[0]) != 2:
        raise HarmfulError("styles to be given two dimensions", str(at))
    return *at[0], 1, 1


def _gather(node: Node, at: list[Shape], graph: Graph) -> Shape:
    [index] = _integers(node, 1, graph)
    if node.attributes.get("axis") != [1] or len(at[0]) != 3 or at[1] != () or not 0 <= index < at[0][1]:
        raise HarmfulError("one style to be taken", str(at))
    return at[0][0], at[0][2]


def _interleave(node: Node, at: list[Shape], _: Graph) -> Shape:
    (n, channels, height, width), [side] = at[0], node.attributes["blocksize"]
    if side != 2 or channels % 4:
        raise HarmfulError("four phases", str(at))
    return n, channels // 4, 2 * height, 2 * width


_RULES: dict[str, Callable[[Node, list[Shape], Graph], Shape]] = {
    **dict.fromkeys(_SAME, lambda _, at, __: at[0]),
    "Cast": _cast,
    **dict.fromkeys(_BROADCAST, _broadcast),
    **dict.fromkeys(("MatMul", "Gemm"), _product),
    **dict.fromkeys(("Conv", "ConvTranspose"), _convolution),
    "Unsqueeze": _unsqueeze,
    "Gather": _gather,
    "DepthToSpace": _interleave,
}
