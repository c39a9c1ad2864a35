"""Made-up photos and updates for the store's tests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from everface.bench.torture.album import fitting
from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.choose import choose
from everface.engine.replay.store import Commit, Memory, NewMemory, Owner, ReplayStore, ScryptCost

CONFIG = '{"base": "base64", "policy": "er-hull"}'
MODEL = "ab" * 32
CHEAP = ScryptCost(2**10, 8, 1)
REASON = "farthest from the hull"


class Uniform:
    """The plainest policy."""

    name = "uniform"

    def select(self, pool: Pool, count: int, rng: np.random.Generator) -> np.ndarray:
        return np.sort(rng.choice(len(pool), count, replace=False))


def choose_uniform(memories: Sequence[Memory], room_bytes: int) -> np.ndarray:
    return choose(Pool.of(memories), Uniform(), np.random.default_rng(0), room_bytes=room_bytes)


def photo(number: int, timestamp: int, side: int = 64, dimension: int = 512) -> NewMemory:
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (4, 4, 3)).astype(np.uint8)
    image = np.kron(coarse, np.ones((side // 4, side // 4, 1), np.uint8))
    image = np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
    sha = hashlib.sha256(b"%d" % number).hexdigest()
    w = rng.normal(size=dimension).astype(np.float32)
    return NewMemory(
        image=image, timestamp=timestamp, w=w, spread=1.5, loss=0.25, dhash=int(rng.integers(2**63)), sha256=sha,
        reason=REASON,
    )  # fmt: skip


def batch(timestamp: int, count: int = 20, side: int = 64, dimension: int = 512) -> list[NewMemory]:
    return [photo(1000 * timestamp + i, timestamp, side, dimension) for i in range(count)]


def update(store: ReplayStore, timestamp: int, photos: list[NewMemory], seed: int = 0, most: int | None = None) -> None:
    old = store.memories()
    sizes = [*(memory.bytes for memory in old), *store.cost(photos)]
    chosen = fitting(sizes, store.state.memory_bytes, np.random.default_rng(seed), most)
    store.commit(
        Commit(
            model=MODEL, timestamp=timestamp,
            keep=tuple(old[i].id for i in chosen if i < len(old)),
            add=tuple(photos[i - len(old)] for i in chosen if i >= len(old)),
            anchors=np.stack([one.w for one in photos]), history={"timestamp": timestamp, "kept": len(chosen)},
            seen=tuple((one.sha256, one.dhash) for one in photos), owner=Owner(np.ones(128, np.float32), timestamp + 1),
        )
    )  # fmt: skip
