"""The replay buffer of an experiment: the engine's policies and codecs, in memory, with a count or with bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from everface.engine.errors import UsageError
from everface.engine.perception.losses import ReconstructionLoss
from everface.engine.replay.codec import CodecChoice, decode, encode
from everface.engine.replay.policies.base import Pool
from everface.engine.replay.policies.choose import choose_memories
from everface.engine.replay.policies.registry import policy
from everface.engine.session.kit import to_tensor
from everface.engine.tune.loop import TuningSet

__all__ = ["Buffer", "Keeping"]


@dataclass(frozen=True)
class Keeping:
    """How much a buffer holds, and in which form.

    Attributes:
        count: the most photos (the paper's b), None for no limit.
        room_bytes: the most bytes of encoded photos, None for no limit.
        codec: how photos are stored; None as the paper does it, a PNG file of the aligned crop.
        code_bytes: what each photo takes beside its image, for its W code.
    """

    count: int | None = 3
    room_bytes: int | None = None
    codec: CodecChoice | None = None
    code_bytes: int = 0

    def __post_init__(self) -> None:
        if self.count is None and self.room_bytes is None:
            raise UsageError("keeping", expected="a count or a number of bytes", found="neither", remedy="set one")
        for name in ("count", "room_bytes"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise UsageError(f"keeping.{name}", expected="0 or more", found=str(value))

    def store(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
        """The image as it comes out of the store, at its own size, and the bytes that it takes there."""
        if self.codec is None:
            held = io.BytesIO()
            Image.fromarray(image).save(held, "PNG", optimize=True)
            return image, len(held.getvalue()) + self.code_bytes
        data, side = encode(image, self.codec)
        found = decode(data, self.codec.name, side)
        if side != len(image):
            large = Image.fromarray(found).resize((len(image), len(image)), Image.Resampling.BICUBIC)
            found = np.asarray(large)
        return found, len(data) + self.code_bytes


@dataclass(frozen=True, eq=False)
class _Item:
    timestamp: int
    index: int
    image: NDArray[np.uint8]
    code: NDArray[np.float32]
    spread: float
    loss: float
    bytes: int


@dataclass(eq=False)
class Buffer:
    """Photos kept by a policy.

    Args:
        name: of the policy.
        keeping: its size.
        seed: of the policy's choices.
    """

    name: str
    keeping: Keeping
    seed: int
    _items: tuple[_Item, ...] = field(default=())

    def __len__(self) -> int:
        return len(self._items)

    def origins(self) -> tuple[tuple[int, int], ...]:
        """(timestamp, index in its batch) of each kept photo."""
        return tuple((one.timestamp, one.index) for one in self._items)

    def sizes(self) -> tuple[int, ...]:
        """Bytes that each kept photo takes."""
        return tuple(one.bytes for one in self._items)

    def images(self) -> list[NDArray[np.uint8]]:
        """The kept photos."""
        return [one.image for one in self._items]

    def replay(self, loss: ReconstructionLoss) -> TuningSet | None:
        """The kept photos as the tuning loop takes them, None where there are none."""
        if not self._items:
            return None
        codes = torch.from_numpy(np.stack([one.code for one in self._items]))
        return TuningSet(codes, loss.prepare(to_tensor(np.stack(self.images()))))

    def take(
        self, timestamp: int, images: NDArray[np.uint8], codes: NDArray[np.float32], spread: NDArray[np.float64],
        losses: NDArray[np.float32],
    ) -> None:  # fmt: skip
        """Chooses anew among what is kept and a batch that was just learned.

        Args:
            timestamp: of the batch.
            images: uint8 [n, R, R, 3].
            codes: [n, d] in W.
            spread: [n] mean distance to the batch-mates.
            losses: [n] reconstruction loss under the current model.
        """
        new = []
        for i, image in enumerate(images):
            kept, size = self.keeping.store(image)
            new.append(_Item(timestamp, i, kept, codes[i], float(spread[i]), float(losses[i]), size))
        both = (*self._items, *new)
        rng = np.random.default_rng([self.seed, timestamp, 1])
        self._items = tuple(both[i] for i in self._choose(_pool(both), rng))

    def losses(self) -> tuple[float, ...]:
        """Each kept photo's loss when it was last measured."""
        return tuple(one.loss for one in self._items)

    def measure(self, losses: Callable[[TuningSet], Tensor], loss: ReconstructionLoss) -> None:
        """Notes each kept photo's loss under the current model, for policies that ask."""
        images = self.replay(loss)
        if images is not None:
            found = losses(images).tolist()
            self._items = tuple(replace(one, loss=value) for one, value in zip(self._items, found, strict=True))

    def _choose(self, pool: Pool, rng: np.random.Generator) -> NDArray[np.int64]:
        chooser, limit = policy(self.name), self.keeping
        if limit.room_bytes is None:
            # The paper's case: a plain count.
            return chooser.select(pool, limit.count or 0, rng)
        return choose_memories(pool, chooser, limit.room_bytes, rng, limit.count)


def _pool(items: tuple[_Item, ...]) -> Pool:
    return Pool(
        latents=np.stack([one.code for one in items]).astype(np.float64),
        groups=np.array([one.timestamp for one in items], np.int64),
        bytes=np.array([one.bytes for one in items], np.int64),
        spread=np.array([one.spread for one in items], np.float64),
        loss=np.array([one.loss for one in items], np.float64),
    )
