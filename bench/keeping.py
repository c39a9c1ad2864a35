"""The memory of an experiment: photos as a store would give them back, counted or weighed, in place of a workspace."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from everface.engine.errors import UsageError
from everface.engine.learn.values import LearnSettings, Memory, NewPhotos, Step
from everface.engine.replay.codec import CodecChoice, decode, encode


@dataclass(frozen=True)
class Keeping:
    """How much a memory holds, and in which form.

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

    def within(self, settings: LearnSettings) -> LearnSettings:
        """The settings with this memory's limits."""
        return replace(settings, count=self.count, room_bytes=self.room_bytes)

    def store(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
        """The image as it comes out of the store, at its own size, and the bytes that it takes there."""
        if self.codec is None:
            file = io.BytesIO()
            Image.fromarray(image).save(file, "PNG", optimize=True)
            return image, len(file.getvalue()) + self.code_bytes
        data, side = encode(image, self.codec)
        stored = decode(data, self.codec.name, side)
        if side != len(image):
            large = Image.fromarray(stored).resize((len(image), len(image)), Image.Resampling.BICUBIC)
            stored = np.asarray(large)
        return stored, len(data) + self.code_bytes


def remembered(memory: Memory, new: NewPhotos, step: Step, stored: NDArray[np.uint8]) -> Memory:
    """The memory after a step: what it kept of the old and the new photos.

    Args:
        memory: before it.
        new: the photos that were learned.
        step: what it came to.
        stored: the new photos as they come out of the store, uint8 [n, R, R, 3].
    """
    old, kept = step.kept_old, step.kept_new
    width = memory.codes.shape[1] - new.cameras.shape[1]
    return Memory(
        timestamp=memory.timestamp + 1,
        images=np.concatenate([memory.images[old], stored[kept]]),
        codes=np.concatenate([memory.codes[old], step.anchors.codes[kept]]),
        timestamps=np.concatenate([memory.timestamps[old], np.full(len(kept), memory.timestamp, np.int64)]),
        bytes=np.concatenate([memory.bytes[old], new.bytes[kept]]),
        spread=np.concatenate([memory.spread[old], step.spread[kept]]),
        losses=np.concatenate([step.remembered[old], step.after[kept]]),
        anchors=(*memory.anchors, np.ascontiguousarray(step.anchors.codes[:, :width])),
    )
