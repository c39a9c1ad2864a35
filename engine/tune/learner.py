"""What the tuning loop trains: all weights of a generator behind W, or the factors of a LoRA on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from everface.engine.generators.lora import LoRA
from everface.engine.generators.protocol import FaceGenerator

__all__ = ["AdaptedLearner", "FullLearner", "Learner", "learner_of"]


class Learner(Protocol):
    """Parameters, and images that depend on them."""

    def parameters(self) -> dict[str, nn.Parameter]:
        """By name; what an optimiser steps."""
        ...

    def render(self, ws: Tensor, dtype: torch.dtype) -> Tensor:
        """Images [n, colours, r, r] of styles [n, w_dim] or [n, num_ws, w_dim]."""
        ...


@dataclass(frozen=True, eq=False)
class FullLearner:
    """All parameters of a generator behind W."""

    generator: FaceGenerator

    def parameters(self) -> dict[str, nn.Parameter]:
        """Those of the generator."""
        return self.generator.tunable_parameters()

    def render(self, ws: Tensor, dtype: torch.dtype) -> Tensor:
        """On the fused operators."""
        return self.generator.render(ws, dtype=dtype)


@dataclass(frozen=True, eq=False)
class AdaptedLearner:
    """The factors of a LoRA; the generator under it stays as it is."""

    generator: FaceGenerator
    lora: LoRA

    def parameters(self) -> dict[str, nn.Parameter]:
        """The factors."""
        return dict(self.lora.factors)

    def render(self, ws: Tensor, dtype: torch.dtype) -> Tensor:
        """On the fused operators, which see each weight plus its change."""
        return self.lora.call(self.generator, lambda: self.generator.render(ws, dtype=dtype))


def learner_of(subject: FaceGenerator | AdaptedLearner) -> FullLearner | AdaptedLearner:
    """The learner itself, or one of all the generator's parameters."""
    return subject if isinstance(subject, AdaptedLearner) else FullLearner(subject)
