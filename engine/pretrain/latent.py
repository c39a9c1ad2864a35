"""Random codes that lie where photos lie: the mapping network follows the encoder."""

from __future__ import annotations

import torch
from torch import Tensor


def sliced_distance(codes: Tensor, wanted: Tensor, directions: Tensor) -> Tensor:
    """Squared sliced Wasserstein distance of two sets of as many codes (Bonneel et al., "Sliced and Radon Wasserstein
    Barycenters", 2015): along each direction the sorted values are compared.

    Args:
        codes, wanted: [n, d], the sets, in units in which their spread is about one.
        directions: [d, k], unit columns.
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

    def add(self, codes: Tensor) -> None:
        """Takes codes [n, d] in, and lets the oldest go."""
        self._codes = torch.cat([codes.detach(), self._codes])[: self._size]

    @property
    def full(self) -> bool:
        """Whether there are as many as it keeps."""
        return len(self._codes) == self._size

    @property
    def codes(self) -> Tensor:
        """All of them, [size, d] once it is full."""
        return self._codes
