"""What came of an export: files, and the proof of each."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from everface.export.recipe import Tolerance

__all__ = ["ExportReport", "ExportedFile", "Parity"]


@dataclass(frozen=True)
class Parity:
    """Proof that a graph computes what the engine computes, or why there is none.

    Attributes:
        graph: its name.
        runtime: what ran it, such as ``"onnxruntime 1.32.0 CPUExecutionProvider"``.
        compared: inputs on which the two were compared.
        batch_sizes: sizes of the batches they came in.
        max_error: largest absolute difference of any value.
        mean_error: mean absolute difference.
        relative_error: largest absolute difference over the largest absolute value.
        perceptual: largest MobileNetV2 distance of any image; None for codes and pictures that are not RGB.
        identity_drift: largest Euclidean distance of dlib descriptors of any image; None likewise.
        tolerance: what passes.
        not_run: why the target did not run here, empty where it did. The numbers are then those of the ONNX graph that
            the file was made of, in ONNX Runtime.
    """

    graph: str
    runtime: str
    compared: int
    batch_sizes: tuple[int, ...]
    max_error: float
    mean_error: float
    relative_error: float
    perceptual: float | None = None
    identity_drift: float | None = None
    tolerance: Tolerance = field(default_factory=Tolerance)
    not_run: str = ""

    def failures(self) -> list[str]:
        """What is beyond the tolerance, as ``measure value > limit``; NaN is beyond any."""
        failures = []
        for name, limit in vars(self.tolerance).items():
            value = getattr(self, name)
            if limit is not None and value is not None and not value <= limit:
                failures.append(f"{name} {value:.3g} > {limit:g}")
        return failures

    @property
    def passed(self) -> bool:
        """Whether the target ran, and everything is within the tolerance."""
        return not self.not_run and not self.failures()

    def describe(self) -> str:
        """One line for people."""
        seen = f"largest error {self.max_error:.1e}, relative {self.relative_error:.1e}"
        if self.perceptual is not None:
            seen += f", MobileNetV2 distance {self.perceptual:.1e}, identity drift {self.identity_drift:.1e}"
        allowed = ", ".join(f"{name} {limit:g}" for name, limit in vars(self.tolerance).items() if limit is not None)
        where = f"on {self.compared} inputs in {self.runtime}"
        start = f"parity: not run ({self.not_run}); its ONNX graph: " if self.not_run else "against the engine: "
        return f"{start}{seen}, allowed {allowed}, {where}"

    def to_manifest(self) -> dict[str, Any]:
        """Plain values for a manifest."""
        record = dataclasses.asdict(self)
        record["parity"] = "not run" if self.not_run else "passed" if self.passed else "failed"
        return record


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
        ir_version: of the ONNX file format.
        anchors: number of anchors in the personal graph, 0 without one.
        files: in the order of the recipe's graphs; a bundle is one file.
        max_error: largest absolute error against the engine, over all files.
        seconds: wall-clock time, the comparison included.
        extras: further files: manifest, lists of operators.
    """

    target: str
    precision: str
    opset: int
    ir_version: int
    anchors: int
    files: tuple[ExportedFile, ...]
    max_error: float
    seconds: float
    extras: tuple[Path, ...] = ()

    def summary(self) -> str:
        """A line a file, for people."""
        lines = [
            f"Wrote {file.path} ({file.bytes / 1e6:.1f} MB, {file.graph}, {self.precision}, opset {self.opset}); "
            f"{file.parity.describe()}"
            for file in self.files
        ]
        return "\n".join([*lines, *(f"Wrote {path}" for path in self.extras)])

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(dataclasses.asdict(self), default=str)
