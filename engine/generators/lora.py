"""Low-rank adaptation (Hu et al. 2021, arXiv 2106.09685) of a generator's convolutions and fully connected layers.

A weight W [out, in, ...] is used as W + alpha / rank * up @ down, with down [rank, in, ...] and up [out, rank]: of a
convolution, ``down`` is a convolution to ``rank`` channels and ``up`` a 1x1 one. W itself never changes. The stored
weights of StyleGAN2 have unit variance (equalised learning rate), so ``down`` starts with unit variance too, and ``up``
at zero, so that an untuned adapter changes nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from torch import Tensor, nn
from torch.func import functional_call

from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.checkpoints import pack_tensors, safetensors_header

__all__ = ["LORA_ARCHITECTURE", "LoRA", "LoRAConfig", "is_lora"]

T = TypeVar("T")
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

    def matches(self, name: str) -> bool:
        """Whether a parameter is adapted."""
        return any(fnmatchcase(name, pattern.strip()) for pattern in self.targets.split(","))


class LoRA:
    """Trainable factors for some weights of a generator (2D or 3D), in float32.

    Use :meth:`create` or :meth:`from_bytes`.

    Attributes:
        config: rank, alpha, targets.
        factors: trainable, by name: ``<weight>.down`` and ``<weight>.up``.
    """

    def __init__(self, config: LoRAConfig, factors: dict[str, Tensor]) -> None:
        self.config = config
        self.factors = {name: nn.Parameter(factors[name].float()) for name in sorted(factors)}

    @classmethod
    def create(cls, generator: nn.Module, config: LoRAConfig, seed: int = 0) -> LoRA:
        """Factors that change nothing yet.

        Raises:
            UsageError: no weight matches the targets.
        """
        draw = torch.Generator().manual_seed(seed)
        factors = {}
        for name, (down, up) in _shapes(generator, config).items():
            factors[f"{name}.down"] = torch.randn(down, generator=draw)
            factors[f"{name}.up"] = torch.zeros(up)
        return cls(config, factors)

    @classmethod
    def from_bytes(cls, data: bytes, generator: nn.Module, base_sha256: str, subject: str = "model") -> LoRA:
        """Reads :meth:`to_bytes`.

        Args:
            data: the whole file.
            generator: the base that the factors belong to.
            base_sha256: the base file's hash.
            subject: what to call it in errors.

        Raises:
            CheckpointError: damaged, not a delta, one of another base, or factors that do not fit the generator.
        """
        metadata = safetensors_header(data, subject)
        if metadata.get("architecture") != LORA_ARCHITECTURE:
            found = repr(metadata.get("architecture"))
            raise CheckpointError(subject, expected="a LoRA delta", found=found, remedy="pass a delta of this program")
        if metadata.get("base_sha256") != base_sha256:
            expected = f"a base with SHA-256 {metadata.get('base_sha256', 'unknown')[:12]}"
            remedy = "restore the base file that it was tuned from"
            raise CheckpointError(subject, expected=expected, found=base_sha256[:12], remedy=remedy)
        try:
            config = LoRAConfig(**json.loads(metadata["lora"]))
            shapes = _shapes(generator, config)
            tensors = load_bytes(data)
        except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError, RecursionError) as error:
            raise CheckpointError(subject, expected="a complete LoRA delta", found=str(error)[:120]) from error
        _check_factors(shapes, tensors, subject)
        return cls(config, tensors)

    def to_bytes(self, base_sha256: str, metadata: dict[str, str] | None = None) -> bytes:
        """The factors in half precision, as safetensors.

        Raises:
            CheckpointError: a factor is not finite in half precision.
        """
        config = {"rank": self.config.rank, "alpha": self.config.alpha, "targets": self.config.targets}
        told = {"architecture": LORA_ARCHITECTURE, "base_sha256": base_sha256, "lora": json.dumps(config)}
        return pack_tensors({name: one.detach().half() for name, one in self.factors.items()}, (metadata or {}) | told)

    @property
    def size(self) -> int:
        """How many numbers are trained."""
        return sum(one.numel() for one in self.factors.values())

    def deltas(self) -> dict[str, Tensor]:
        """The change of each weight, differentiable in the factors."""
        scale = self.config.alpha / self.config.rank
        changes = {}
        for name in sorted({name.rpartition(".")[0] for name in self.factors}):
            down, up = self.factors[f"{name}.down"], self.factors[f"{name}.up"]
            changes[name] = torch.tensordot(up, down, dims=1) * scale
        return changes

    def call(self, generator: nn.Module, function: Callable[..., T], *args: Any) -> T:
        """Runs ``function(*args)`` while the generator's weights are W + change; gradients reach the factors alone.

        The weights are substituted, not copied into, so code that reads ``layer.weight`` sees the sum, the native
        synthesis included.
        """
        sums = {f"root.{name}": generator.get_parameter(name).detach() + d for name, d in self.deltas().items()}
        result: T = functional_call(_Call(generator, function), sums, args)
        return result

    @torch.no_grad()
    def merge(self, generator: nn.Module) -> None:
        """Adds the changes to the generator's weights, in place."""
        for name, change in self.deltas().items():
            generator.get_parameter(name).add_(change)

    @torch.no_grad()
    def unmerge(self, generator: nn.Module) -> None:
        """Takes the changes off again, exact to rounding (about 1e-7 of a weight)."""
        for name, change in self.deltas().items():
            generator.get_parameter(name).sub_(change)

    @contextmanager
    def merged(self, generator: nn.Module) -> Iterator[None]:
        """Within the block the generator is the adapted one; afterwards bit for bit what it was."""
        kept = {name: generator.get_parameter(name).detach().clone() for name in self.deltas()}
        self.merge(generator)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in kept.items():
                    generator.get_parameter(name).copy_(value)


class _Call(nn.Module):
    """A function as a module that holds the generator, so that torch can substitute the generator's parameters."""

    def __init__(self, root: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        # In a tuple, since a function that is a part of the generator must not be registered as a second owner.
        self.root, self.functions = root, (function,)

    def forward(self, *args: Any) -> Any:
        return self.functions[0](*args)


def is_lora(data: bytes) -> bool:
    """Whether the bytes of a model file are a LoRA delta rather than a whole generator."""
    try:
        return safetensors_header(data, "model").get("architecture") == LORA_ARCHITECTURE
    except CheckpointError:
        return False


def _shapes(generator: nn.Module, config: LoRAConfig) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Of each adapted weight, the shapes of ``down`` and ``up``."""
    found: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    for name, value in generator.named_parameters():
        if config.matches(name) and value.ndim >= 2:
            rank = min(config.rank, value.shape[0], math.prod(value.shape[1:]))
            found[name] = ((rank, *value.shape[1:]), (value.shape[0], rank))
    if not found:
        remedy = "give patterns such as *.conv?.weight"
        raise UsageError("targets", expected="a pattern of parameter names", found=repr(config.targets), remedy=remedy)
    return found


def _check_factors(
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]], tensors: dict[str, Tensor], subject: str
) -> None:
    wanted = {
        f"{name}.{end}": shape for name, both in shapes.items() for end, shape in zip(("down", "up"), both, strict=True)
    }
    if wrong := sorted(wanted.keys() ^ tensors.keys()):
        raise CheckpointError(
            subject, expected=f"{len(wanted)} factors of this base", found=f"a difference at {wrong[0]}"
        )
    for name, value in tensors.items():
        if tuple(value.shape) != wanted[name] or not value.is_floating_point():
            found = f"{tuple(value.shape)} {value.dtype}"
            raise CheckpointError(f"{subject}: {name}", expected=f"floating-point {wanted[name]}", found=found)
        if not torch.isfinite(value).all():
            raise CheckpointError(f"{subject}: {name}", expected="finite factors", found="NaN or infinity")
