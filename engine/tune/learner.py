"""What the tuning loop trains: all weights of a synthesis network, or the factors of a LoRA on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from everface.engine.generators.eg3d.posed import PosedSynthesis
from everface.engine.generators.lora import LoRA
from everface.engine.generators.rendering import AnyGenerator, render, synthesis_of
from everface.engine.generators.stylegan2 import SynthesisNetwork

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
    """All parameters of a generator's synthesis network."""

    synthesis: SynthesisNetwork | PosedSynthesis

    def parameters(self) -> dict[str, nn.Parameter]:
        """Those of the network."""
        return dict(self.synthesis.named_parameters())

    def render(self, ws: Tensor, dtype: torch.dtype) -> Tensor:
        """On the fused operators."""
        return render(self.synthesis, ws, dtype=dtype)


@dataclass(frozen=True, eq=False)
class AdaptedLearner:
    """The factors of a LoRA; the generator under it stays as it is."""

    generator: AnyGenerator
    lora: LoRA

    def parameters(self) -> dict[str, nn.Parameter]:
        """The factors."""
        return dict(self.lora.factors)

    def render(self, ws: Tensor, dtype: torch.dtype) -> Tensor:
        """On the fused operators, which see each weight plus its change."""
        network = synthesis_of(self.generator)
        return self.lora.call(self.generator, lambda: render(network, ws, dtype=dtype))


def learner_of(synthesis: SynthesisNetwork | PosedSynthesis | AdaptedLearner) -> FullLearner | AdaptedLearner:
    """The learner itself, or one of all the network's parameters."""
    return synthesis if isinstance(synthesis, AdaptedLearner) else FullLearner(synthesis)
