"""The shape that each operator of a generator's graph gives, for one picture; what it does not cover is refused."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

from everface.export.runtime.graph_file import INT64, SIZES, Graph, HarmfulError, Node, Shape

Rule = Callable[[Node, list[Shape], Graph], Shape]
_SAME = (
    "Clip", "CumSum", "DequantizeLinear", "Exp", "Identity", "LeakyRelu", "Neg", "QuantizeLinear", "Reciprocal",
    "Sigmoid", "Softplus", "Sqrt",
)  # fmt: skip
_BROADCAST = ("Add", "Sub", "Mul", "Div", "Less", "LessOrEqual", "Where")


def _require(ok: bool, expected: str, found: object) -> None:
    if not ok:
        raise HarmfulError(expected, str(found)[:120])


def _integers(node: Node, position: int, graph: Graph) -> list[int]:
    """The value of an operand that has to be a constant."""
    _, kind, raw = graph.constants[node.inputs[position]]
    _require(kind == INT64 and len(raw) <= 64, f"whole numbers for {node.op}", "others")
    return list(struct.unpack(f"<{len(raw) // 8}q", raw))


def _axis(value: int, rank: int) -> int:
    _require(-rank <= value < rank, f"an axis of {rank}", value)
    return value % rank


def _attribute(node: Node, name: str, default: int) -> int:
    [value] = node.attributes.get(name) or [default]
    return value


def _cast(node: Node, at: list[Shape], _: Graph) -> Shape:
    [kind] = node.attributes["to"]
    _require(kind in SIZES, "a cast to numbers", f"element type {kind}")
    return at[0]


def _fitting(shapes: list[Shape]) -> Shape:
    rank = max(len(shape) for shape in shapes)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    out = tuple(max(column) for column in zip(*padded, strict=True))
    fits = all(size in (1, wide) for shape in padded for size, wide in zip(shape, out, strict=True))
    _require(fits, "operands that fit", shapes)
    return out


def _broadcast(_: Node, at: list[Shape], __: Graph) -> Shape:
    return _fitting(at)


def _gemm(node: Node, at: list[Shape], _: Graph) -> Shape:
    (n, k), (rows, m) = at[:2]
    if _attribute(node, "transA", 0):
        n, k = k, n
    if _attribute(node, "transB", 0):
        rows, m = m, rows
    fits = k == rows and not node.attributes.keys() - {"alpha", "beta", "transA", "transB"}
    _require(fits, "matrices that fit", f"{at} {sorted(node.attributes)}")
    return n, m


def _matmul(_: Node, at: list[Shape], __: Graph) -> Shape:
    (*first, n, k), (*second, rows, m) = at
    _require(k == rows, "matrices that fit", at)
    return *_fitting([tuple(first), tuple(second)]), n, m


def _convolution(node: Node, at: list[Shape], _: Graph) -> Shape:
    (n, channels, *sides), (a, b, *kernel) = at[:2]
    settings = node.attributes
    group, pads = settings.get("group", [1])[0], settings.get("pads", [0] * 4)
    strides, dilations = settings.get("strides", [1, 1]), settings.get("dilations", [1, 1])
    small = (
        all(0 <= number <= 16 for number in (*pads, *strides, *dilations, *kernel)) and min(*strides, *dilations) > 0
    )
    unknown = settings.keys() - {"group", "pads", "strides", "dilations", "kernel_shape", "auto_pad", "output_padding"}
    plain = small and not unknown and group >= 1 and len(sides) == len(kernel) == 2 and len(pads) == 4
    _require(plain and not any(settings.get("output_padding", [])), "a plain convolution", f"{sorted(settings)} {at}")
    reach = [dilation * (k - 1) + 1 for dilation, k in zip(dilations, kernel, strict=True)]
    if node.op == "Conv":
        _require(b * group == channels, "weights that fit", at)
        grown = [(side + pads[i] + pads[i + 2] - reach[i]) // strides[i] + 1 for i, side in enumerate(sides)]
        return n, a, *grown
    _require(a == channels, "weights that fit", at)
    grown = [(side - 1) * strides[i] + reach[i] - pads[i] - pads[i + 2] for i, side in enumerate(sides)]
    return n, b * group, *grown


def _pool(node: Node, at: list[Shape], _: Graph) -> Shape:
    n, channels, *sides = at[0]
    rank, settings = len(sides), node.attributes
    kernel, strides, pads = (
        settings["kernel_shape"],
        settings.get("strides", [1] * rank),
        settings.get("pads", [0] * 2 * rank),
    )
    plain = len(kernel) == len(strides) == rank and len(pads) == 2 * rank and set(settings.get("dilations", [1])) == {1}
    small = all(0 <= number <= 16 for number in (*kernel, *strides, *pads)) and min(strides) > 0
    _require(plain and small and not any(settings.get("ceil_mode", [])), "plain pooling", f"{settings} {at}")
    grown = [(side + pads[i] + pads[i + rank] - kernel[i]) // strides[i] + 1 for i, side in enumerate(sides)]
    return n, channels, *grown


def _unsqueeze(node: Node, at: list[Shape], graph: Graph) -> Shape:
    axes = _integers(node, 1, graph)
    rank = len(at[0]) + len(axes)
    places, rest = {_axis(axis, rank) for axis in axes}, iter(at[0])
    _require(len(places) == len(axes), "axes that differ", axes)
    return tuple(1 if i in places else next(rest) for i in range(rank))


def _gather(node: Node, at: list[Shape], graph: Graph) -> Shape:
    axis, indices = _axis(_attribute(node, "axis", 0), len(at[0])), _integers(node, 1, graph)
    size = at[0][axis]
    _require(all(-size <= index < size for index in indices), f"indices below {size}", indices)
    return *at[0][:axis], *at[1], *at[0][axis + 1 :]


def _gather_elements(node: Node, at: list[Shape], _: Graph) -> Shape:
    axis = _axis(_attribute(node, "axis", 0), len(at[0]))
    others = all(a >= b for i, (a, b) in enumerate(zip(*at, strict=True)) if i != axis)
    _require(others, "indices within the values", at)
    return at[1]


def _interleave(node: Node, at: list[Shape], _: Graph) -> Shape:
    (n, channels, height, width), [side] = at[0], node.attributes["blocksize"]
    _require(side == 2 and channels % 4 == 0, "four phases", at)
    return n, channels // 4, 2 * height, 2 * width


def _reshape(node: Node, at: list[Shape], graph: Graph) -> Shape:
    wanted, count = _integers(node, 1, graph), math.prod(at[0])
    known = math.prod(size for size in wanted if size != -1)
    _require(known > 0 and wanted.count(-1) <= 1 and all(size >= -1 for size in wanted), "a shape", wanted)
    shape = tuple(count // known if size == -1 else size for size in wanted)
    _require(math.prod(shape) == count, f"a shape of {count} numbers", wanted)
    return shape


def _transpose(node: Node, at: list[Shape], _: Graph) -> Shape:
    order = node.attributes["perm"]
    _require(sorted(order) == list(range(len(at[0]))), "an order of the axes", order)
    return tuple(at[0][i] for i in order)


def _slice(node: Node, at: list[Shape], graph: Graph) -> Shape:
    starts, ends, axes = (_integers(node, i, graph) for i in (1, 2, 3))
    steps = _integers(node, 4, graph) if len(node.inputs) > 4 else [1] * len(axes)
    shape = list(at[0])
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = _axis(axis, len(shape))
        shape[place] = len(range(*slice(start, end, step).indices(shape[place])))
    return tuple(shape)


def _concat(node: Node, at: list[Shape], _: Graph) -> Shape:
    axis = _axis(node.attributes["axis"][0], len(at[0]))
    rests = {(*part[:axis], *part[axis + 1 :]) for part in at}
    _require(len(rests) == 1, "parts that fit", at)
    return *at[0][:axis], sum(part[axis] for part in at), *at[0][axis + 1 :]


def _expand(node: Node, at: list[Shape], graph: Graph) -> Shape:
    return _fitting([at[0], tuple(_integers(node, 1, graph))])


def _reduce(node: Node, at: list[Shape], graph: Graph) -> Shape:
    places = {_axis(axis, len(at[0])) for axis in _integers(node, 1, graph)}
    kept = bool(_attribute(node, "keepdims", 1))
    return tuple(1 if i in places else size for i, size in enumerate(at[0]) if kept or i not in places)


def _grid_sample(_: Node, at: list[Shape], __: Graph) -> Shape:
    values, (samples, height, width, pair) = at
    _require(len(values) == 4 and values[0] == samples and pair == 2, "two coordinates a sample", at)
    return samples, values[1], height, width


def _top(node: Node, at: list[Shape], graph: Graph) -> Shape:
    axis, [k] = _axis(_attribute(node, "axis", -1), len(at[0])), _integers(node, 1, graph)
    _require(0 < k <= at[0][axis], f"at most {at[0][axis]}", k)
    return *at[0][:axis], k, *at[0][axis + 1 :]


def _pad(node: Node, at: list[Shape], graph: Graph) -> Shape:
    pads, rank = _integers(node, 1, graph), len(at[0])
    _require(len(pads) == 2 * rank and all(0 <= pad <= 16 for pad in pads), "a little padding", pads)
    return tuple(size + pads[i] + pads[i + rank] for i, size in enumerate(at[0]))


RULES: dict[str, Rule] = {
    **dict.fromkeys(_SAME, lambda _, at, __: at[0]),
    **dict.fromkeys(_BROADCAST, _broadcast),
    **dict.fromkeys(("Conv", "ConvTranspose"), _convolution),
    "Cast": _cast,
    "Concat": _concat,
    "DepthToSpace": _interleave,
    "Expand": _expand,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Gemm": _gemm,
    "GridSample": _grid_sample,
    "MatMul": _matmul,
    "MaxPool": _pool,
    "Pad": _pad,
    "ReduceSum": _reduce,
    "Reshape": _reshape,
    "Slice": _slice,
    "TopK": _top,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
