"""Shapes of operators: those of NumPy or ONNX, and what is refused."""

from __future__ import annotations

import struct

import pytest

from everface.export.runtime.graph_file import INT64, Graph, HarmfulError, Node, Shape
from everface.export.runtime.rules import RULES


def shape_of(op: str, at: list[Shape], *constants: list[int], **attributes: list[int]) -> Shape:
    """The shape that an operator gives, its constants being the operands after the first."""
    graph = Graph()
    names = [f"c{i}" for i in range(len(constants))]
    for name, values in zip(names, constants, strict=True):
        graph.constants[name] = ((len(values),), INT64, memoryview(struct.pack(f"<{len(values)}q", *values)))
    return tuple(RULES[op](Node(op, "", ["x", *names], ["y"], attributes), at, graph))


@pytest.mark.parametrize(
    ("op", "at", "constants", "attributes", "wanted"),
    [
        ("Add", [(1, 4, 1), (3,)], [], {}, (1, 4, 3)),
        ("Where", [(1, 4), (4,), (1,)], [], {}, (1, 4)),
        ("Gemm", [(1, 3), (5, 3)], [], {"transB": [1]}, (1, 5)),
        ("MatMul", [(2, 1, 4, 3), (3, 5)], [], {}, (2, 1, 4, 5)),
        ("Unsqueeze", [(2, 3)], [[0, -1]], {}, (1, 2, 3, 1)),
        ("Gather", [(2, 5, 3), (2,)], [[0, -1]], {"axis": [1]}, (2, 2, 3)),
        ("GatherElements", [(1, 7, 3), (1, 4, 3)], [], {"axis": [1]}, (1, 4, 3)),
        ("Reshape", [(2, 6)], [[3, -1]], {}, (3, 4)),
        ("Transpose", [(2, 3, 4)], [], {"perm": [2, 0, 1]}, (4, 2, 3)),
        ("Slice", [(2, 9)], [[1], [-1], [1], [2]], {}, (2, 4)),
        ("Concat", [(2, 3), (2, 4)], [], {"axis": [-1]}, (2, 7)),
        ("Expand", [(1, 3)], [[2, 1, 3]], {}, (2, 1, 3)),
        ("ReduceSum", [(2, 3, 4)], [[1]], {"keepdims": [0]}, (2, 4)),
        ("GridSample", [(1, 8, 5, 5), (1, 2, 7, 2)], [], {}, (1, 8, 2, 7)),
        ("TopK", [(1, 9)], [[4]], {}, (1, 4)),
        ("Pad", [(1, 4)], [[0, 1, 0, 2]], {}, (1, 7)),
        ("MaxPool", [(4, 1, 11)], [], {"kernel_shape": [2], "strides": [1], "pads": [1, 1]}, (4, 1, 12)),
        ("DepthToSpace", [(1, 8, 3, 3)], [], {"blocksize": [2]}, (1, 2, 6, 6)),
    ],
)
def test_shapes(
    op: str, at: list[Shape], constants: list[list[int]], attributes: dict[str, list[int]], wanted: Shape
) -> None:
    assert shape_of(op, at, *constants, **attributes) == wanted


@pytest.mark.parametrize(
    ("op", "at", "constants", "attributes"),
    [
        ("Add", [(2,), (3,)], [], {}),
        ("Gemm", [(1, 3), (5, 3)], [], {}),
        ("MatMul", [(1, 3), (5, 3)], [], {}),
        ("Gather", [(2, 5), (1,)], [[5]], {"axis": [1]}),
        ("Gather", [(2, 5), (1,)], [[0]], {"axis": [2]}),
        ("GatherElements", [(1, 7, 3), (2, 4, 3)], [], {"axis": [1]}),
        ("Reshape", [(2, 6)], [[5, -1]], {}),
        ("Reshape", [(2, 6)], [[-1, -1]], {}),
        ("Transpose", [(2, 3)], [], {"perm": [0, 0]}),
        ("Concat", [(2, 3), (3, 3)], [], {"axis": [1]}),
        ("Expand", [(2, 3)], [[4, 3]], {}),
        ("GridSample", [(1, 8, 5, 5), (1, 2, 7, 3)], [], {}),
        ("TopK", [(1, 9)], [[10]], {}),
        ("Pad", [(1, 4)], [[0, 1 << 40, 0, 0]], {}),
        ("MaxPool", [(4, 1, 11)], [], {"kernel_shape": [2], "strides": [0]}),
    ],
)
def test_what_does_not_fit_is_refused(
    op: str, at: list[Shape], constants: list[list[int]], attributes: dict[str, list[int]]
) -> None:
    with pytest.raises(HarmfulError):
        shape_of(op, at, *constants, **attributes)
