"""What to export: the recipe."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from everface.engine.errors import UsageError
from everface.engine.vault import Key

__all__ = [
    "GRAPHS",
    "GRAPHS_3D",
    "NEWEST_OPSET",
    "OLDEST_OPSET",
    "PRECISIONS",
    "TARGETS",
    "TOLERANCES",
    "VARIANTS",
    "ExportRecipe",
    "Tolerance",
]

GRAPHS = ("personal", "synthesis", "mapping")
GRAPHS_3D = ("personal", "view", "planes", "render")
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
VARIANTS = ("portable", "custom")
SUFFIXES = {
    "onnx": ".onnx",
    "ort": ".ort",
    "tensorrt": ".engine",
    "tensorrt-rtx": ".engine",
    "bundle": ".bundle",
    "delta": ".delta",
}
TARGETS = tuple(SUFFIXES)
OLDEST_OPSET = 17
NEWEST_OPSET = 28
# The first opset whose convolutions take bfloat16.
BF16_OPSET = 22


@dataclass(frozen=True)
class Tolerance:
    """What a comparison with the engine has to keep; None where a measure does not decide.

    Attributes:
        max_error: largest absolute difference of any value, images being about [-1, 1].
        relative_error: the same over the largest absolute value.
        perceptual: largest MobileNetV2 distance of any image.
        identity_drift: largest Euclidean distance of dlib descriptors of any image; one person's photos lie within 0.6.
    """

    max_error: float | None = None
    relative_error: float | None = None
    perceptual: float | None = None
    identity_drift: float | None = None


# Measured on a tuned 64-pixel model, its anchors and fresh samples, and about doubled (docs/export.md has the table).
TOLERANCES = {
    "fp32": Tolerance(max_error=1e-4),
    "fp16": Tolerance(perceptual=1e-4, identity_drift=0.02),
    "bf16": Tolerance(perceptual=3e-3, identity_drift=0.08),
    "int8": Tolerance(perceptual=0.15, identity_drift=0.3),
}
# The renderer's second pass samples where the first found matter: it turns differences of rounding into larger ones.
TOLERANCE_3D = Tolerance(max_error=2e-3, perceptual=1e-4, identity_drift=0.02)
# A delta keeps who it is and how they look, at a tenth of the size: identity_drift stays below the 0.6 of one person.
DELTA_TOLERANCE = Tolerance(perceptual=0.4, identity_drift=0.55)
DELTA_MEGABYTES = 0.5
# W codes, and images too few-channelled to be looked at: relative to the largest value.
RELATIVE = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 5e-2, "int8": 2e-1}


@dataclass(frozen=True)
class ExportRecipe:
    """How a model is exported.

    Attributes:
        target: what runs the file: ``"onnx"`` (any runtime that reads ONNX), ``"ort"`` (ONNX Runtime's own format, for
            mobile builds), ``"tensorrt"``, ``"tensorrt-rtx"`` (an engine), ``"bundle"`` (one file with graphs, anchors,
            hashes and terms, for ``everface.export.runtime``), ``"delta"`` (what changed since the base, for those
            who have it).
        precision: of weights and arithmetic: ``"fp32"``, ``"fp16"`` (styles and demodulation stay float32), ``"bf16"``
            (arithmetic in TensorRT; in ONNX Runtime, which has no bfloat16 convolution on a CPU, weights alone) or
            ``"int8"`` (static, calibrated on the person's own codes).
        opset: version of ONNX's operators, 17 to 28; older ones are read by more runtimes.
        graphs: which graphs to write, of ``GRAPHS``, in 3D of ``GRAPHS_3D``; by default ``personal`` to a file,
            to a folder all of 2D, and ``personal``, ``planes`` and ``render`` of 3D.
        psi: truncation of the personal graph, 0 (the mean face) to 1 (none).
        samples: fresh inputs on which the result is compared with the engine, beside the person's own anchors.
        seed: of these inputs.
        tolerance: what the comparison has to keep; by default that of ``TOLERANCES``.
        resolution: side of the image if smaller than the model's: the blocks above are left out; a power of two.
        size_limit: the most that any written file may take, in MB (10^6 bytes).
        require_parity: fail where the target cannot run here, instead of noting ``parity: not run``.
        noise_inputs: the synthesis graph takes the noise images as optional inputs ``noise.b8.conv0`` and so on, each
            [1, 1, r, r]; the model's own are their defaults.
        variant: ``"portable"``: standard operators alone; ``"custom"``: everface's operator library for ONNX Runtime
            (``everface.export.custom``), which is faster and has bfloat16 arithmetic; for the targets ``"onnx"``
            and ``"bundle"``, in fp32 or bf16, without ``noise_inputs``.
        key: encrypts a bundle.
    """

    target: str = "onnx"
    precision: str = "fp32"
    opset: int = OLDEST_OPSET
    graphs: tuple[str, ...] = ()
    psi: float = 1.0
    samples: int = 8
    seed: int = 0
    tolerance: Tolerance | None = None
    resolution: int | None = None
    size_limit: float | None = None
    require_parity: bool = False
    noise_inputs: bool = False
    variant: str = "portable"
    key: Key | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _one_of("target", TARGETS, self.target)
        _one_of("precision", PRECISIONS, self.precision)
        _one_of("variant", VARIANTS, self.variant)
        opsets = f"{OLDEST_OPSET} to {NEWEST_OPSET}"
        _require(OLDEST_OPSET <= self.opset <= NEWEST_OPSET, "opset", opsets, self.opset)
        chosen = set(self.graphs)
        known = (chosen <= set(GRAPHS) or chosen <= set(GRAPHS_3D)) and len(chosen) == len(self.graphs)
        _require(known, "graphs", f"some of {', '.join(GRAPHS)}, or of {', '.join(GRAPHS_3D)}, each once", self.graphs)
        _require(0 <= self.psi <= 1, "psi", "0 to 1", self.psi)
        _require(1 <= self.samples <= 1024, "samples", "1 to 1024", self.samples)
        _require(0 <= self.seed < 2**63, "seed", "0 to 2^63 - 1", self.seed)
        for limit in vars(self.tolerance).values() if self.tolerance else ():
            _require(_positive(limit), "tolerance", "above 0", limit)
        _require(_positive(self.size_limit), "size_limit", "above 0 MB", self.size_limit)
        side = self.resolution
        _require(side is None or (8 <= side <= 1024 and not side & (side - 1)), "resolution", "8, 16, ... 1024", side)
        if self.noise_inputs and self.target.startswith("tensorrt"):
            raise UsageError("noise_inputs", expected="a target that has optional inputs", found=self.target)
        if self.target == "delta" and (self.precision != "fp32" or self.resolution or self.graphs):
            found = f"{self.precision}, {self.resolution}, {self.graphs}"
            raise UsageError("delta", expected="no precision, resolution or graphs of its own", found=found)
        if self.variant == "custom":
            fits = self.target in ("onnx", "bundle") and self.precision in ("fp32", "bf16") and not self.noise_inputs
            found = f"{self.target}, {self.precision}, noise_inputs {self.noise_inputs}"
            _require(fits, "variant custom", "the target onnx or bundle, fp32 or bf16, no noise_inputs", found)
        if self.key is not None and self.target != "bundle":
            raise UsageError(
                "key", expected="the target bundle", found=self.target, remedy="only bundles are encrypted"
            )

    @property
    def suffix(self) -> str:
        """Of the target's files."""
        return SUFFIXES[self.target]

    @property
    def graph_opset(self) -> int:
        """The opset that is written: bfloat16 convolutions need a newer one than most."""
        native = self.precision == "bf16" and self.target.startswith("tensorrt")
        return max(self.opset, BF16_OPSET) if native else self.opset

    def is_file(self, path: Path) -> bool:
        """Whether a path names one file of the target, rather than a folder."""
        return path.suffix == self.suffix

    def graphs_at(self, path: Path, usual: tuple[str, ...]) -> tuple[str, ...]:
        """The graphs to write at a path: a file of the target's suffix takes one, anything else is a folder.

        Args:
            path: where to.
            usual: what a folder gets by default; a file or a bundle gets the first.

        Raises:
            UsageError: several graphs for one file.
        """
        alone = self.target == "bundle" or self.is_file(path)
        if self.is_file(path) and self.target != "bundle" and len(self.graphs) > 1:
            remedy = "pass a folder, or one graph"
            raise UsageError("graphs", expected=f"one for the file {path.name}", found=str(self.graphs), remedy=remedy)
        return self.graphs or (usual[:1] if alone else usual)

    def tolerance_of(self, graph: str, images: bool) -> Tolerance:
        """What a graph has to keep; ``images``: whether perception can look at what it gives."""
        if self.tolerance is not None:
            return self.tolerance
        if self.target == "delta":
            return DELTA_TOLERANCE
        if self.precision == "fp32" or (graph != "mapping" and images):
            return TOLERANCES[self.precision]
        return Tolerance(relative_error=RELATIVE[self.precision])


def _positive(value: float | None) -> bool:
    return value is None or (math.isfinite(value) and value > 0)


def _one_of(name: str, known: tuple[str, ...], found: str) -> None:
    _require(found in known, name, " or ".join(known), found)


def _require(ok: bool, name: str, expected: str, found: object) -> None:
    if not ok:
        raise UsageError(name, expected=expected, found=repr(found), remedy="change the recipe")
