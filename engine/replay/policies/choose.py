"""Which of a pool's photos are kept: the most that the policy chooses and that fit."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError
from everface.engine.replay.policies.base import Policy, Pool


@runtime_checkable
class BytesPolicy(Protocol):
    """A policy that weighs bytes itself, such as ``budgeted``."""

    def select_bytes(
        self, pool: Pool, room_bytes: int, rng: np.random.Generator, max_count: int | None = None
    ) -> NDArray[np.int64]:
        """Returns ascending indices whose bytes sum to at most ``room_bytes``."""


def choose(
    pool: Pool,
    policy: Policy,
    rng: np.random.Generator,
    *,
    room_bytes: int | None = None,
    count: int | None = None,
) -> NDArray[np.int64]:
    """Asks the policy for the most photos that fit.

    Args:
        pool: the candidates.
        policy: chooses a given number of them.
        rng: source of the policy's randomness; every count is tried with the same draw.
        room_bytes: bytes that the chosen may take together, None for no such limit (the paper's case).
        count: the most photos, None for no such limit.

    Returns:
        Ascending indices into the pool.

    Raises:
        UsageError: neither limit is given.
    """
    if room_bytes is None:
        if count is None:
            raise UsageError("allowance", expected="a count or a number of bytes", found="neither", remedy="set one")
        return np.sort(policy.select(pool, count, rng))
    if isinstance(policy, BytesPolicy):
        return policy.select_bytes(pool, room_bytes, rng, count)
    seed = int(rng.integers(2**63))
    most = len(pool) if count is None else min(count, len(pool))
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
