"""Training a low-rank adaptation in PyTorch: the factors of ``lora_weights`` as parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from everface.engine.generators.lora_weights import LoRAConfig, LoRAWeights

__all__ = ["LoRA"]

T = TypeVar("T")


class LoRA:
    """Trainable factors for some weights of a generator (2D or 3D), in float32.

    Attributes:
        config: rank, alpha, targets.
        factors: trainable, by name: ``<weight>.down`` and ``<weight>.up``.
    """

    def __init__(self, weights: LoRAWeights) -> None:
        self.config = weights.config
        self.factors = {name: nn.Parameter(torch.from_numpy(factor.copy())) for name, factor in weights.factors.items()}

    @classmethod
    def create(cls, generator: nn.Module, config: LoRAConfig, seed: int = 0) -> LoRA:
        """Factors that change nothing yet.

        Raises:
            UsageError: no weight matches the targets.
        """
        return cls(LoRAWeights.create(_parameters(generator), config, seed))

    @classmethod
    def from_bytes(cls, data: bytes, generator: nn.Module, base_sha256: str, subject: str = "model") -> LoRA:
        """Reads ``to_bytes``; see ``LoRAWeights.from_bytes``.

        Raises:
            CheckpointError: damaged, not a delta, one of another base, or factors that do not fit the generator.
        """
        return cls(LoRAWeights.from_bytes(data, _parameters(generator), base_sha256, subject))

    def to_bytes(self, base_sha256: str, metadata: dict[str, str] | None = None) -> bytes:
        """The factors in half precision, as safetensors.

        Raises:
            CheckpointError: a factor is not finite in half precision.
        """
        factors = {name: factor.detach().cpu().numpy() for name, factor in self.factors.items()}
        return LoRAWeights(self.config, factors).to_bytes(base_sha256, metadata)

    @property
    def size(self) -> int:
        """How many numbers are trained."""
        return sum(factor.numel() for factor in self.factors.values())

    def deltas(self) -> dict[str, Tensor]:
        """The change of each weight, differentiable in the factors."""
        changes = {}
        for name in sorted({name.rpartition(".")[0] for name in self.factors}):
            down, up = self.factors[f"{name}.down"], self.factors[f"{name}.up"]
            changes[name] = torch.tensordot(up, down, dims=1) * self.config.scale
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


class _Call(nn.Module):
    """A function as a module that holds the generator, so that torch can substitute the generator's parameters."""

    def __init__(self, root: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        # In a tuple, since a function that is a part of the generator must not be registered as a second owner.
        self.root, self.functions = root, (function,)

    def forward(self, *args: Any) -> Any:
        return self.functions[0](*args)


def _parameters(generator: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in generator.named_parameters()}
