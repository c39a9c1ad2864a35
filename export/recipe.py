"""What to export: the recipe, and what came of it."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path

from everface.engine.errors import UsageError

__all__ = ["GRAPHS", "NEWEST_OPSET", "OLDEST_OPSET", "ExportRecipe", "ExportReport", "ExportedFile", "Parity"]

GRAPHS = ("personal", "synthesis", "mapping")
OLDEST_OPSET = 17
NEWEST_OPSET = 28


@dataclass(frozen=True)
class ExportRecipe:
    """How a model is exported.

    Attributes:
        target: the runtime that runs the file: ``"onnx"``, for any that reads ONNX.
        precision: of weights and arithmetic: ``"fp32"``.
        opset: version of ONNX's operators, 17 to 28; older ones are read by more runtimes.
        graphs: which graphs to write, of :data:`GRAPHS`; by default ``personal`` to a file, all three to a folder.
        psi: truncation of the personal graph, 0 (the mean face) to 1 (none).
        samples: fresh inputs on which the result is compared with PyTorch, beside the person's own anchors.
        seed: of these inputs.
        tolerance: largest difference of any value of an image (about [-1, 1]) or W code that passes.
    """

    target: str = "onnx"
    precision: str = "fp32"
    opset: int = OLDEST_OPSET
    graphs: tuple[str, ...] = ()
    psi: float = 1.0
    samples: int = 8
    seed: int = 0
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        _require(self.target == "onnx", "target", "onnx", self.target)
        _require(self.precision == "fp32", "precision", "fp32", self.precision)
        opsets = f"{OLDEST_OPSET} to {NEWEST_OPSET}"
        _require(OLDEST_OPSET <= self.opset <= NEWEST_OPSET, "opset", opsets, self.opset)
        known = set(self.graphs) <= set(GRAPHS) and len(set(self.graphs)) == len(self.graphs)
        _require(known, "graphs", f"some of {', '.join(GRAPHS)}, each once", self.graphs)
        _require(0 <= self.psi <= 1, "psi", "0 to 1", self.psi)
        _require(1 <= self.samples <= 1024, "samples", "1 to 1024", self.samples)
        _require(0 <= self.seed < 2**63, "seed", "0 to 2^63 - 1", self.seed)
        _require(math.isfinite(self.tolerance) and self.tolerance > 0, "tolerance", "above 0", self.tolerance)

    def graphs_at(self, path: Path) -> tuple[str, ...]:
        """The graphs to write at a path: a ``.onnx`` file takes one, anything else is a folder.

        Raises:
            UsageError: several graphs for one file.
        """
        if path.suffix != ".onnx":
            return self.graphs or GRAPHS
        if len(self.graphs) > 1:
            remedy = "pass a folder, or one graph"
            raise UsageError("graphs", expected=f"one for the file {path.name}", found=str(self.graphs), remedy=remedy)
        return self.graphs or GRAPHS[:1]


def _require(ok: bool, name: str, expected: str, found: object) -> None:
    if not ok:
        raise UsageError(name, expected=expected, found=repr(found), remedy="change the recipe")


@dataclass(frozen=True)
class Parity:
    """Proof that a graph computes what PyTorch computes.

    Attributes:
        graph: its name.
        runtime: what ran it, such as ``"onnxruntime 1.32.0 CPUExecutionProvider"``.
        compared: inputs on which the two were compared.
        batch_sizes: sizes of the batches they came in.
        max_error: largest absolute difference of any value.
        mean_error: mean absolute difference.
        relative_error: largest absolute difference over the largest absolute value.
        tolerance: the largest ``max_error`` that passes.
    """

    graph: str
    runtime: str
    compared: int
    batch_sizes: tuple[int, ...]
    max_error: float
    mean_error: float
    relative_error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance; NaN is not."""
        return self.max_error <= self.tolerance


@dataclass(frozen=True)
class ExportedFile:
    """One written file, with its proof."""

    graph: str
    path: Path
    bytes: int
    sha256: str
    parity: Parity


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote.

    Attributes:
        target, precision, opset: as in the recipe.
        ir_version: of the file format.
        anchors: number of anchors in the personal graph, 0 without one.
        files: in the order of the recipe's graphs.
        max_error: largest absolute error against PyTorch, over all files.
        seconds: wall-clock time, the comparison included.
    """

    target: str
    precision: str
    opset: int
    ir_version: int
    anchors: int
    files: tuple[ExportedFile, ...]
    max_error: float
    seconds: float

    def summary(self) -> str:
        """A line a file, for people."""
        return "\n".join(
            f"Wrote {one.path} ({one.bytes / 1e6:.1f} MB, {one.graph}, opset {self.opset}); largest error against "
            f"PyTorch {one.parity.max_error:.1e}, allowed {one.parity.tolerance:.0e}, on {one.parity.compared} inputs "
            f"in {one.parity.runtime}"
            for one in self.files
        )

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(dataclasses.asdict(self), default=str)
