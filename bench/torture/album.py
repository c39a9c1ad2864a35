"""A made-up album whose every photo is a function of its number, so that a stored one can be told true or false."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import IntegrityError
from everface.engine.replay.codec import decode, encode
from everface.engine.replay.store import Commit, Memory, NewMemory, ReplayStore

CONFIG = '{"base": "base64"}'


def forked() -> int:
    """``os.fork``; the child must end with ``os._exit``."""
    with warnings.catch_warnings():
        # Python >= 3.12 warns where other threads run; the child uses nothing that they hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def told_by_child(work: Callable[[Callable[[str], object]], None]) -> tuple[list[str], int]:
    """Runs work in a forked child: the lines that it told until it ended or crashed, and its exit code."""
    reading, writing = os.pipe()
    child = forked()
    if child == 0:
        try:
            os.close(reading)
            with os.fdopen(writing, "w", buffering=1) as out:
                work(out.write)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as lines:
        told = lines.read().splitlines()
    return told, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def model_bytes(timestamp: int) -> bytes:
    """A stand-in for the model file of an update."""
    return np.random.default_rng(timestamp).bytes(2048)


def fitting(sizes: Sequence[int], room_bytes: int, rng: np.random.Generator, most: int | None = None) -> list[int]:
    """Ascending indices of random items that fit together into a room, at most so many."""
    chosen: list[int] = []
    for i in rng.permutation(len(sizes)).tolist():
        if len(chosen) != most and sizes[i] <= room_bytes:
            chosen.append(i)
            room_bytes -= sizes[i]
    return sorted(chosen)


@dataclass
class Album:
    """Updates of made-up photos.

    Attributes:
        side: pixels a side.
        dimension: of the W codes.
        batch: photos in an update.
    """

    side: int = 32
    dimension: int = 64
    batch: int = 6
    _known: dict[str, tuple[NewMemory, NDArray[np.uint8]]] = field(default_factory=dict)

    def photo(self, timestamp: int, index: int) -> NewMemory:
        """The photo with an index in a batch."""
        rng = np.random.default_rng((timestamp, index))
        coarse = rng.integers(0, 256, (4, 4, 3)).astype(np.uint8)
        image = np.kron(coarse, np.ones((self.side // 4, self.side // 4, 1), np.uint8))
        image = np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
        w = rng.normal(size=self.dimension).astype(np.float32)
        sha = hashlib.sha256(b"%d %d" % (timestamp, index)).hexdigest()
        return NewMemory(
            image=image, timestamp=timestamp, w=w, spread=1.0, loss=0.5, dhash=int(rng.integers(2**63)), sha256=sha,
            reason="made up",
        )  # fmt: skip

    def update(self, store: ReplayStore) -> None:
        """One update: a model file on the shelf, then the commit that names it; its history tells what it keeps."""
        timestamp = store.state.timestamps
        model = store.models.put(model_bytes(timestamp))
        new = [self.photo(timestamp, index) for index in range(self.batch)]
        old = store.memories()
        sizes = [*(memory.bytes for memory in old), *store.cost(new)]
        chosen = fitting(sizes, store.state.memory_bytes, np.random.default_rng(timestamp))
        keep = tuple(old[i].id for i in chosen if i < len(old))
        add = tuple(new[i - len(old)] for i in chosen if i >= len(old))
        shas = sorted([one.source_sha256 for one in old if one.id in set(keep)] + [one.sha256[:16] for one in add])
        digest = hashlib.sha256("".join(shas).encode()).hexdigest()
        store.commit(Commit(model, timestamp, keep, add, history={"t": timestamp, "kept": len(shas), "digest": digest}))

    def verify(self, store: ReplayStore) -> None:
        """Raises IntegrityError unless the store is exactly what one committed update left, and all photos are true."""
        state, memories = store.state, store.memories()
        if state.timestamps:
            told = state.history[-1]
            shas = "".join(sorted(one.source_sha256 for one in memories))
            digest = hashlib.sha256(shas.encode()).hexdigest()
            if (told["t"], told["kept"], told["digest"]) != (state.timestamps - 1, len(memories), digest):
                raise IntegrityError("update", expected=str(told), found=f"{state.timestamps - 1}, {len(memories)}")
            if store.models.get(state.model) != model_bytes(state.timestamps - 1):
                raise IntegrityError("model", expected="that of the last update", found="another")
        images = store.read_images([one.id for one in memories])
        for memory, image in zip(memories, images, strict=True):
            self.verify_memory(memory, image, store)

    def verify_memory(self, memory: Memory, image: NDArray[np.uint8], store: ReplayStore) -> None:
        """Raises IntegrityError unless a memory and its pixels are those of the photo that it claims to be."""
        if memory.source_sha256 not in self._known:
            for index in range(self.batch):
                one = self.photo(memory.timestamp, index)
                data, side = encode(one.image, store.state.choice)
                self._known[one.sha256[:16]] = (one, decode(data, store.state.choice.name, side))
        photo, pixels = self._known.get(memory.source_sha256, (None, None))
        if photo is None or pixels is None or not np.array_equal(image, pixels):
            raise IntegrityError(f"memory {memory.id}", expected="its own pixels", found="others")
        if np.abs(memory.w - photo.w).max() > 0.05 or (memory.dhash, memory.spread) != (photo.dhash, 1.0):
            raise IntegrityError(f"memory {memory.id}", expected="its own W code", found="another")
