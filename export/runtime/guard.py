"""Looks through an ONNX file before ONNX Runtime does: what it holds, and how large each of its values would become.

A graph passes if it uses a short list of operators, carries its weights inside (no external files), and no value of it
is larger than a picture of a large generator needs. Values are followed by their shapes, so a file of a few bytes that
would fill the memory is refused without trying. Everface's own operators pass where the manifest says that the bundle
needs them.
"""

from __future__ import annotations

import math
import struct

from everface.export.runtime.container import wrong
from everface.export.runtime.graph_file import Graph, HarmfulError, Shape, read_graph
from everface.export.runtime.operators import CUSTOM_DOMAIN, OPERATOR_RULES, OPERATORS_VERSION
from everface.export.runtime.rules import RULES

MAX_ELEMENTS = 1 << 26  # of one value of one picture: 1024 x 1024 x 64 channels
# Each may take some memory of its own, however small; a generator of 1024 pixels has 26.
_MAX_CUSTOM = 64


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
        rule = (OPERATOR_RULES if node.domain else RULES).get(node.op)
        if rule is None:
            raise HarmfulError("operators of a generator", node.op[:40])
        if shapes.keys() & set(node.outputs) or len(set(node.outputs)) < len(node.outputs):
            raise HarmfulError("a name for every value", f"{node.outputs[0][:40]} twice")
        shape = rule(node, at, graph)
        if any(size < 1 for size in shape) or math.prod(shape) > MAX_ELEMENTS:
            raise HarmfulError(f"values of at most {MAX_ELEMENTS} numbers", f"{node.op} of shape {shape}")
        shapes |= dict.fromkeys(node.outputs, shape)
    if shapes.get(graph.outputs[0]) != output:
        raise HarmfulError(f"a result of shape {output}", str(shapes.get(graph.outputs[0])))
