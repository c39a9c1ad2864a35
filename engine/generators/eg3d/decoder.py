"""Features of a point to its density and colour: one hidden layer (Chan et al. 2022, section 4.2)."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from everface.engine.generators.stylegan2.layers import FullyConnected
from everface.engine.ops.volume.reference import decode


class OSGDecoder(nn.Module):
    """Mean feature of the planes to density and colour features.

    Args:
        features: channels in, and colour channels out.
        hidden: width.
        lr_multiplier: as in the mapping network.
    """

    def __init__(self, features: int, hidden: int, lr_multiplier: float = 1.0):
        super().__init__()
        self.net = nn.Sequential(
            FullyConnected(features, hidden, lr_multiplier=lr_multiplier),
            nn.Softplus(),
            FullyConnected(hidden, 1 + features, lr_multiplier=lr_multiplier),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps [n, m, features] to densities [n, m, 1], before softplus, and colours [n, m, features] in about [0, 1].

        The sigmoid is widened by 0.001 to either side, so that 0 and 1 can be reached (MipNeRF).
        """
        return decode(x, self.matrices())

    def matrices(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Weights and biases as they are used: [hidden, features], [hidden], [1 + features, hidden], [1 + features]."""
        first, second = cast(FullyConnected, self.net[0]), cast(FullyConnected, self.net[2])
        return (*first.scaled(), *second.scaled())
