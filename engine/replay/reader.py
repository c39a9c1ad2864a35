"""What readers of a store see: each call sees the newest state as a whole, and holds no handle afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError
from everface.engine.replay.blocks import BodyReader
from everface.engine.replay.budget import memory_costs, room_bytes
from everface.engine.replay.changes import Encoded, new_content
from everface.engine.replay.codec import codec_label, decode, encode
from everface.engine.replay.codec.latent import dequantize
from everface.engine.replay.content import Content
from everface.engine.replay.memory_file import MemoryFile
from everface.engine.replay.models import ModelShelf
from everface.engine.replay.values import Memory, NewMemory, StoreState
from everface.engine.vault import Seal, VaultSeal


class StoreReader:
    """The reading half of ``everface.engine.replay.store.ReplayStore``."""

    def __init__(self, folder: Path, file: MemoryFile) -> None:
        self._folder, self._file = folder, file
        self._encoded: dict[tuple[str, int], Encoded] = {}
        self._content()

    def _content(self) -> Content:
        return self._file.read(lambda content, _: content)

    @property
    def seal(self) -> Seal:
        """How this workspace's other files are sealed."""
        return self._file.seal

    @property
    def models(self) -> ModelShelf:
        """The workspace's model files."""
        return ModelShelf(self._folder, self._file.seal, self._file.disk)

    @property
    def state(self) -> StoreState:
        """The workspace at a glance."""
        content, size = self._content(), self._file.size
        memories = room_bytes(content, content.ledger.budget_bytes, size)
        room, sealed = max(0, memories - int(memory_costs(content).sum())), isinstance(self.seal, VaultSeal)
        return StoreState(**vars(content.ledger), used_bytes=size(content), memory_bytes=memories, room_bytes=room,
                          encrypted=sealed)  # fmt: skip

    def memories(self) -> tuple[Memory, ...]:
        """All kept photos, ordered by timestamp, then id."""
        return self._file.read(lambda content, body: memories_of(content, levels_of(content, body)))

    def read_images(self, ids: Sequence[str]) -> list[NDArray[np.uint8]]:
        """The images [R, R, 3] of memories, in the order asked for.

        Raises:
            UsageError: no such memory.
            IntegrityError: an image is damaged.
        """

        def read(content: Content, body: BodyReader) -> list[tuple[bytes, int, int]]:
            wanted = [row_of(content, id) for id in ids]
            images = {row: image_of(content, body, row) for row in sorted(set(wanted))}
            codecs, sides = content.rows["codec"], content.rows["resolution"]
            return [(images[row], int(codecs[row]), int(sides[row])) for row in wanted]

        return [decode(*image) for image in self._file.read(read)]

    def anchors(self) -> list[tuple[int, NDArray[np.float32]]]:
        """(timestamp, W codes [n, d]) of all timestamps that have any: of memories, then of photos without image."""
        content, levels = self._file.read(lambda content, body: (content, levels_of(content, body)))
        stamps = np.concatenate([content.rows["timestamp"], content.anchors["timestamp"]])
        codes = dequantize(np.concatenate([content.rows["scale"], content.anchors["scale"]]), levels)
        return [(int(stamp), codes[stamps == stamp]) for stamp in np.unique(stamps)]

    def seen(self) -> tuple[tuple[str, int], ...]:
        """(first 16 hexadecimal digits of the SHA-256, dhash) of photos seen so far, the earliest may be dropped."""
        content = self._content()
        photos = (one for table in (content.seen, content.rows) for one in table[["sha256", "dhash"]])
        return tuple(dict.fromkeys((sha.tobytes().hex(), int(dhash)) for sha, dhash in photos))

    def cost(self, new: Sequence[NewMemory]) -> tuple[int, ...]:
        """Bytes that each new memory would take; comparable to ``Memory.bytes``."""
        return tuple(memory_costs(new_content(new, self._images(new), self._content())).tolist())

    def _images(self, new: Sequence[NewMemory]) -> list[Encoded]:
        """New images encoded, each once however often it is asked for."""
        choice = self._content().ledger.choice
        for one in new:
            if (one.sha256, one.timestamp) not in self._encoded:
                self._encoded[one.sha256, one.timestamp] = encode(one.image, choice)
        return [self._encoded[one.sha256, one.timestamp] for one in new]


def levels_of(content: Content, body: BodyReader) -> NDArray[np.uint8]:
    """[n + m, d] levels of the W codes of memories, then anchors."""
    levels = np.frombuffer(body.read(0, content.code_bytes), np.uint8)
    return levels.reshape(len(content.rows) + len(content.anchors), content.dimension)


def image_of(content: Content, body: BodyReader, row: int) -> bytes:
    """The encoded image of a memory."""
    return body.read(int(content.image_offsets[row]), int(content.image_offsets[row + 1]))


def memories_of(content: Content, levels: NDArray[np.uint8]) -> tuple[Memory, ...]:
    """The memories, ordered by timestamp, then id."""
    rows, reasons = content.rows, content.ledger.reasons
    vectors = {
        name: rows[name].astype(np.float32) for name in ("view", "embedding") if name in (rows.dtype.names or ())
    }
    values = {name: rows[name].tolist() for name in ("timestamp", "resolution", "spread", "loss", "dhash")}
    values |= {"id": content.ids, "bytes": memory_costs(content).tolist(), **vectors}
    values["source_sha256"] = [sha.hex() for sha in rows["sha256"].copy().view("V8").ravel().tolist()]
    values["codec"] = [codec_label(number) for number in rows["codec"].tolist()]
    values["reason"] = [reasons[number] for number in rows["reason"].tolist()]
    values["w"] = dequantize(rows["scale"], levels[: len(rows)])
    memories = (Memory(**dict(zip(values, row, strict=True))) for row in zip(*values.values(), strict=True))
    return tuple(sorted(memories, key=lambda memory: (memory.timestamp, memory.id)))


def row_of(content: Content, id: str) -> int:
    """The row of a memory; UsageError where there is none."""
    if id not in content.row_of:
        expected, remedy = "an id that `everface status` lists", "choose one of those"
        raise UsageError(f"memory {id}", expected=expected, found="none such", remedy=remedy)
    return content.row_of[id]
