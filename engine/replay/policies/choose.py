"""Bytes to count: how many memories a policy may choose so that they fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from everface.engine.replay.policies.base import Policy, Pool
from everface.engine.replay.values import Memory, NewMemory

__all__ = ["BytesPolicy", "choose_memories", "make_pool"]


@runtime_checkable
class BytesPolicy(Protocol):
    """A policy that weighs bytes itself, such as ``budgeted``."""

    def select_bytes(
        self, pool: Pool, room_bytes: int, rng: np.random.Generator, max_count: int | None = None
    ) -> NDArray[np.int64]:
        """Returns ascending indices whose bytes sum to at most ``room_bytes``."""


def make_pool(old: Sequence[Memory], new: Sequence[NewMemory], costs: Sequence[int]) -> Pool:
    """The candidates of the next commit: old memories first, then the new ones with their costs in bytes."""
    both: tuple[Memory | NewMemory, ...] = (*old, *new)
    width = both[0].w.shape[0] if both else 0
    latents = np.array([one.w for one in both], np.float64).reshape(len(both), width)
    return Pool(
        latents=latents,
        groups=np.array([one.timestamp for one in both], np.int64),
        bytes=np.array([*(one.bytes for one in old), *costs], np.int64),
        spread=np.array([one.spread for one in both], np.float64),
        loss=np.array([one.loss for one in both], np.float64),
    )


def choose_memories(
    pool: Pool, policy: Policy, room_bytes: int, rng: np.random.Generator, max_count: int | None = None
) -> NDArray[np.int64]:
    """Asks the policy for the most memories that fit into the room.

    Args:
        pool: the candidates.
        policy: chooses a given number of them.
        room_bytes: bytes that the chosen may take together.
        rng: source of the policy's randomness; every count is tried with the same draw.
        max_count: the most memories, None for no other limit than bytes.

    Returns:
        Ascending indices into the pool, whose bytes sum to at most ``room_bytes``.
    """
    if isinstance(policy, BytesPolicy):
        return policy.select_bytes(pool, room_bytes, rng, max_count)
    seed = int(rng.integers(2**63))
    most = len(pool) if max_count is None else min(max_count, len(pool))
    ascending = np.cumsum(np.sort(pool.bytes))
    descending = np.cumsum(np.sort(pool.bytes)[::-1])
    # Whatever the policy chooses, this many always fit, and more than that many never do.
    low = min(most, int(np.searchsorted(descending, room_bytes, side="right")))
    high = min(most, int(np.searchsorted(ascending, room_bytes, side="right")))
    best = _ask(policy, pool, low, seed)
    while low < high:
        middle = (low + high + 1) // 2
        chosen = _ask(policy, pool, middle, seed)
        if pool.bytes[chosen].sum() <= room_bytes:
            low, best = middle, chosen
        else:
            high = middle - 1
    return best


def _ask(policy: Policy, pool: Pool, count: int, seed: int) -> NDArray[np.int64]:
    if count == 0:
        return np.zeros(0, np.int64)
    return np.sort(policy.select(pool, count, np.random.default_rng(seed)))
