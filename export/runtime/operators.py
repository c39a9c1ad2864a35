"""Everface's own operators in a bundle: where their library is, and what a graph may ask of them.

The operators do the work of a StyleGAN2 layer in one step (``everface.export.custom`` writes such graphs). The
library comes with everface or from the caller. A bundle only says that it needs it: no path in a bundle is ever loaded.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Callable
from pathlib import Path

import everface
from everface.engine.errors import MissingBackendError
from everface.export.runtime.graph_file import FLOAT, Graph, HarmfulError, Node, Shape

CUSTOM_DOMAIN, OPERATORS_VERSION = "everface", 1
LIBRARY_FILE = "_ort_ops.so"
_MAX_SIDE = 4096
_MAX_COLOURS = 4


def packaged_library() -> Path | None:
    """The library of this installation, None if it was built without."""
    folders = [Path(folder) for folder in everface.__path__]
    try:
        # An editable installation has compiled parts in another folder than the Python files.
        library = importlib.util.find_spec("everface._native")
    except (ImportError, ValueError):
        library = None
    if library is not None and library.origin:
        folders.append(Path(library.origin).parent)
    return next((folder / LIBRARY_FILE for folder in folders if (folder / LIBRARY_FILE).is_file()), None)


def find_library(chosen: str | os.PathLike[str] | None) -> Path:
    """The library to register: the chosen one, or that of this installation.

    Raises:
        MissingBackendError: there is no such file.
    """
    path = packaged_library() if chosen is None else Path(chosen)
    if path is None or not path.is_file():
        remedy = "install everface from a wheel (or build it with -DEVERFACE_ORT=ON), or pass operators=PATH to it"
        raise MissingBackendError(
            "operator library", expected="the file that such graphs need", found=str(path or "none"),
            remedy=f"{remedy}; graphs exported with --variant portable do without",
        )  # fmt: skip
    return path.absolute()


def _require(ok: bool, node: Node, expected: str, found: object) -> None:
    if not ok:
        raise HarmfulError(f"{node.op} with {expected}", str(found)[:120])


def _whole(node: Node, name: str, low: int, high: int) -> int:
    numbers = node.attributes.get(name, [])
    _require(len(numbers) == 1 and low <= numbers[0] <= high, node, f"{name} from {low} to {high}", numbers)
    return numbers[0]


def _positive(node: Node, name: str) -> None:
    value = node.reals.get(name, math.nan)
    _require(0 < value < math.inf, node, f"{name} above 0", value)


def _attributes(node: Node, whole: set[str], real: set[str]) -> None:
    names = set(node.attributes)
    _require(names == whole | real and set(node.reals) == real, node, f"{sorted(whole | real)} alone", sorted(names))


def _weights(node: Node, graph: Graph) -> Shape:
    """Of the third input, which is packed when the graph is loaded and so has to be a constant."""
    shape, kind, _ = graph.constants[node.inputs[2]]
    _require(kind == FLOAT and len(shape) == 4 and all(shape), node, "float32 weights [cout, cin, k, k]", shape)
    return shape


def _modulated_conv(node: Node, at: list[Shape], graph: Graph) -> Shape:
    _attributes(node, {"height", "width", "up", "demodulate"}, {"slope", "gain", "clamp"})
    height, width = _whole(node, "height", 1, _MAX_SIDE), _whole(node, "width", 1, _MAX_SIDE)
    up = _whole(node, "up", 1, 2)
    _whole(node, "demodulate", 0, 1)
    for name in ("slope", "gain", "clamp"):
        _positive(node, name)
    _require(len(at) == len(node.inputs) and len(at) in (4, 5), node, "4 or 5 inputs", len(node.inputs))
    cout, cin, *kernel = _weights(node, graph)
    _require(kernel == [3, 3] or (kernel == [1, 1] and up == 1), node, "a kernel of 3, or of 1 without up", kernel)
    result = (1, height * up, width * up, cout)
    wanted = [(1, height, width, cin), (1, cin), (cout, cin, *kernel), (cout,), result[:3]]
    _require(at == wanted[: len(at)], node, f"inputs {wanted[: len(at)]}", at)
    return result


def _to_rgb(node: Node, at: list[Shape], graph: Graph) -> Shape:
    _attributes(node, set(), {"clamp"})
    _positive(node, "clamp")
    _require(len(at) == len(node.inputs) and len(at) in (4, 5), node, "4 or 5 inputs", len(node.inputs))
    colours, cin, *_ = _weights(node, graph)
    _require(colours <= _MAX_COLOURS and len(at[0]) == 4, node, f"at most {_MAX_COLOURS} colours", colours)
    _, height, width, _ = at[0]
    even = len(at) == 4 or (height == width and height % 2 == 0)
    wanted = [
        (1, height, width, cin),
        (1, cin),
        (colours, cin, 1, 1),
        (colours,),
        (1, colours, height // 2, width // 2),
    ]
    _require(even and at == wanted[: len(at)], node, f"inputs {wanted[: len(at)]}", at)
    return 1, colours, height, width


OPERATOR_RULES: dict[str, Callable[[Node, list[Shape], Graph], Shape]] = {
    "ModulatedConv": _modulated_conv,
    "ToRGB": _to_rgb,
}
