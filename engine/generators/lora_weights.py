"""Low-rank adaptation (Hu et al. 2021, arXiv 2106.09685) of a generator's weights, as NumPy arrays; without PyTorch.

A weight W [out, in, ...] is used as W + alpha / rank * up @ down, with down [rank, in, ...] and up [out, rank]: of a
convolution, ``down`` is a convolution to ``rank`` channels and ``up`` a 1x1 one. W itself never changes. The stored
weights of StyleGAN2 have unit variance (equalised learning rate), so ``down`` starts with unit variance too, and ``up``
at zero, so that an untuned adapter changes nothing.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.weights import check_shapes, finite_float32, pack_arrays, read_arrays, read_metadata

Shapes = Mapping[str, tuple[int, ...]]
LORA_ARCHITECTURE = "lora"
# The mapping network stays frozen (MyStyle, My3DGen): anchors must mean the same before and after.
DEFAULT_TARGETS = "*.conv?.weight,*.torgb.weight,*.affine.weight,decoder.net.?.weight"
_MAX_RANK = 1024


@dataclass(frozen=True)
class LoRAConfig:
    """What is adapted and how much.

    Attributes:
        rank: of the change of each weight.
        alpha: the change is scaled by alpha / rank.
        targets: comma-separated patterns (``*`` and ``?``) of parameter names, from the generator's root.
    """

    rank: int = 1
    alpha: float = 1.0
    targets: str = DEFAULT_TARGETS

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= _MAX_RANK:
            raise UsageError("rank", expected=f"1 to {_MAX_RANK}", found=str(self.rank), remedy="choose a small rank")
        if not 0 < self.alpha < 1e6:
            raise UsageError("alpha", expected="a positive number", found=str(self.alpha), remedy="1 is usual")

    @property
    def scale(self) -> float:
        """Of the product of the factors."""
        return self.alpha / self.rank

    def matches(self, name: str) -> bool:
        """Whether a parameter is adapted."""
        return any(fnmatchcase(name, pattern.strip()) for pattern in self.targets.split(","))

    def factor_shapes(self, parameters: Shapes) -> dict[str, tuple[int, ...]]:
        """The shapes of ``NAME.down`` and ``NAME.up`` of each adapted parameter.

        Args:
            parameters: shapes of a generator's parameters, by name.

        Raises:
            UsageError: none of them matches the targets.
        """
        shapes: dict[str, tuple[int, ...]] = {}
        for name, shape in parameters.items():
            if self.matches(name) and len(shape) >= 2:
                rank = min(self.rank, shape[0], math.prod(shape[1:]))
                shapes |= {f"{name}.down": (rank, *shape[1:]), f"{name}.up": (shape[0], rank)}
        if not shapes:
            expected, remedy = "a pattern of parameter names", "give patterns such as *.conv?.weight"
            raise UsageError("targets", expected=expected, found=repr(self.targets), remedy=remedy)
        return shapes


@dataclass(frozen=True, eq=False)
class LoRAWeights:
    """Factors for some weights of a generator, 2D or 3D.

    Attributes:
        config: rank, alpha, targets.
        factors: ``<weight>.down`` and ``<weight>.up``, float32.
    """

    config: LoRAConfig
    factors: dict[str, NDArray[np.float32]]

    @classmethod
    def create(cls, parameters: Shapes, config: LoRAConfig, seed: int = 0) -> LoRAWeights:
        """Factors that change nothing yet.

        Args:
            parameters: shapes of the generator's parameters, by name.
            config: what is adapted.
            seed: of the random ``down`` factors.

        Raises:
            UsageError: no weight matches the targets.
        """
        random = np.random.default_rng(seed)
        factors = {
            name: random.standard_normal(shape, np.float32) if name.endswith(".down") else np.zeros(shape, np.float32)
            for name, shape in sorted(config.factor_shapes(parameters).items())
        }
        return cls(config, factors)

    @classmethod
    def from_bytes(cls, data: bytes, parameters: Shapes, base_sha256: str, subject: str = "model") -> LoRAWeights:
        """Reads ``to_bytes``.

        Args:
            data: the whole file.
            parameters: shapes of the parameters of the base that the factors belong to, by name.
            base_sha256: the base file's hash.
            subject: what to call it in errors.

        Raises:
            CheckpointError: damaged, not a delta, one of another base, or factors that do not fit the generator.
        """
        metadata = read_metadata(data, subject)
        if metadata.get("architecture") != LORA_ARCHITECTURE:
            found = repr(metadata.get("architecture"))
            raise CheckpointError(subject, expected="a LoRA delta", found=found, remedy="pass a delta of this program")
        if metadata.get("base_sha256") != base_sha256:
            expected = f"a base with SHA-256 {metadata.get('base_sha256', 'unknown')[:12]}"
            remedy = "restore the base file that it was tuned from"
            raise CheckpointError(subject, expected=expected, found=base_sha256[:12], remedy=remedy)
        try:
            config = LoRAConfig(**json.loads(metadata["lora"]))
            shapes = config.factor_shapes(parameters)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise CheckpointError(subject, expected="a complete LoRA delta", found=str(error)[:120]) from error
        factors = read_arrays(data, subject)
        check_shapes(shapes, factors, subject)
        return cls(config, finite_float32(factors, subject))

    def to_bytes(self, base_sha256: str, metadata: Mapping[str, str] | None = None) -> bytes:
        """The factors in half precision, as safetensors.

        Raises:
            CheckpointError: a factor is not finite in half precision.
        """
        with np.errstate(over="ignore"):
            halves = {name: factor.astype(np.float16) for name, factor in self.factors.items()}
        settings = {"architecture": LORA_ARCHITECTURE, "base_sha256": base_sha256}
        return pack_arrays(
            halves, {**(metadata or {}), **settings, "lora": json.dumps(dataclasses.asdict(self.config))}
        )

    def merged(self, arrays: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """A generator's arrays with the changes added; those that are not adapted are shared, none is changed."""
        adapted = dict(arrays)
        for name in sorted({name.rpartition(".")[0] for name in self.factors}):
            down, up = self.factors[f"{name}.down"], self.factors[f"{name}.up"]
            adapted[name] = arrays[name] + np.tensordot(up, down, axes=1) * np.float32(self.config.scale)
        return adapted


def is_lora(data: bytes) -> bool:
    """Whether the bytes of a model file are a LoRA delta rather than a whole generator."""
    try:
        return read_metadata(data, "model").get("architecture") == LORA_ARCHITECTURE
    except CheckpointError:
        return False
