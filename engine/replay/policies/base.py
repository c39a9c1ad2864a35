"""The protocol that all replay policies share: arrays in, indices out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError
from everface.engine.replay.values import Memory

__all__ = ["Policy", "Pool"]


@dataclass(frozen=True)
class Pool:
    """What a policy sees of the candidate memories (buffer plus the timestamp just trained).

    Attributes:
        latents: [n, d] float64, the W codes.
        groups: [n] int64, the timestamp of each.
        bytes: [n] int64, what each costs in the store.
        spread: [n] float64, mean distance of each to its original batch-mates, stored at capture.
        loss: [n] float64, each one's reconstruction loss under the current model; NaN where not measured.
    """

    latents: NDArray[np.float64]
    groups: NDArray[np.int64]
    bytes: NDArray[np.int64]
    spread: NDArray[np.float64]
    loss: NDArray[np.float64]

    def __post_init__(self) -> None:
        n = self.latents.shape[0] if self.latents.ndim == 2 else -1
        if n < 0:
            raise UsageError("pool.latents", expected="an array [n, d]", found=f"shape {self.latents.shape}")
        for name in ("groups", "bytes", "spread", "loss"):
            shape = getattr(self, name).shape
            if shape != (n,):
                raise UsageError(f"pool.{name}", expected=f"shape ({n},)", found=f"{shape}")
        if not np.isfinite(self.latents).all():
            raise UsageError("pool.latents", expected="finite numbers", found="NaN or infinity")

    @classmethod
    def of(cls, memories: Sequence[Memory]) -> Pool:
        """Memories as they are stored."""
        return cls(
            latents=np.stack([one.w for one in memories]).astype(np.float64),
            groups=np.array([one.timestamp for one in memories], np.int64),
            bytes=np.array([one.bytes for one in memories], np.int64),
            spread=np.array([one.spread for one in memories], np.float64),
            loss=np.array([one.loss for one in memories], np.float64),
        )

    def __len__(self) -> int:
        return int(self.latents.shape[0])


class Policy(Protocol):
    """Chooses which memories to keep."""

    @property
    def name(self) -> str:
        """The name under which users choose it."""

    def select(self, pool: Pool, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns min(count, len(pool)) distinct indices into the pool, ascending."""
