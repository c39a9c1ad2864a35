"""Random codes that lie where photos lie: the mapping network follows the encoder."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["CodeBank", "sliced_distance"]


def sliced_distance(
    codes: Float[Tensor, "n d"], wanted: Float[Tensor, "n d"], directions: Float[Tensor, "d k"]
) -> Tensor:
    """Squared sliced Wasserstein distance of two sets of as many codes (Bonneel et al., "Sliced and Radon Wasserstein
    Barycenters", 2015): along each direction the sorted values are compared.

    Args:
        codes, wanted: the sets, in units in which their spread is about one.
        directions: unit columns.
    """
    return ((codes @ directions).sort(dim=0).values - (wanted @ directions).sort(dim=0).values).square().mean()


class CodeBank:
    """The newest codes of photos that the encoder gave.

    Args:
        size: how many are kept.
        dim: of W.
        device: where.
    """

    def __init__(self, size: int, dim: int, device: torch.device) -> None:
        self._size, self._codes = size, torch.zeros(0, dim, device=device)

    def add(self, codes: Float[Tensor, "n d"]) -> None:
        """Takes codes in, and lets the oldest go."""
        self._codes = torch.cat([codes.detach(), self._codes])[: self._size]

    @property
    def full(self) -> bool:
        """Whether there are as many as it keeps."""
        return len(self._codes) == self._size

    @property
    def codes(self) -> Float[Tensor, "n d"]:
        """All of them."""
        return self._codes
