"""What goes into the replay store and what comes out: frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everface.engine.replay.codec import CodecChoice


@dataclass(frozen=True, eq=False, kw_only=True)
class _Photo:
    """What a kept photo has, before it is stored and after.

    Attributes:
        timestamp: index of its batch, from 0.
        w: [d] float32, its W code; quantised once it is stored.
        spread: mean distance to its batch-mates in W.
        loss: reconstruction loss, NaN where not measured.
        dhash: 64-bit perceptual hash.
        reason: why it is kept, a short sentence.
        view: [k] numbers that say from where it was taken, the same count for all; none in 2D; stored as float16.
        embedding: [e] identity embedding, the same count for all, or none; stored as float16.
    """

    timestamp: int
    w: NDArray[np.float32]
    spread: float
    loss: float
    dhash: int
    reason: str = ""
    view: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    embedding: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))


@dataclass(frozen=True, eq=False, kw_only=True)
class NewMemory(_Photo):
    """A photo that is to be kept: also its aligned crop [R, R, 3] uint8 sRGB, and the SHA-256 of its file in
    hexadecimal digits.
    """

    image: NDArray[np.uint8]
    sha256: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Memory(_Photo):
    """One kept photo, as stored; its pixels: ``ReplayStore.read_images``.

    Attributes:
        id: 12 hexadecimal digits, a hash of the photo's hash and timestamp; what ``forget`` takes.
        codec: name of the codec that its image is stored with.
        resolution: stored side in pixels.
        bytes: all that it costs: image, W code and columns.
        source_sha256: first 16 hexadecimal digits of the SHA-256 of the photo's file.
    """

    id: str
    codec: str
    resolution: int
    bytes: int
    source_sha256: str


@dataclass(frozen=True, eq=False)
class Owner:
    """The enrolled person: the sum [e] float32 of identity embeddings, and of how many photos it is."""

    total: NDArray[np.float32]
    count: int


@dataclass(frozen=True, eq=False)
class Commit:
    """One update, which is written whole or not at all.

    Attributes:
        model: SHA-256 of the model file, already on the shelf.
        timestamp: index of this update; the store must have seen exactly that many before.
        keep: ids of the old memories that stay; all others go.
        add: new memories.
        anchors: [n, d] W codes of this timestamp; those without an image are kept only while there is room.
        history: a JSON-able summary of the update; the oldest are dropped when history outgrows its share.
        seen: (SHA-256, dhash) of every photo of the batch, to recognise it later.
        owner: identity of the enrolled person; None leaves it as it was.
        losses: newly measured losses of kept memories by id.
        retuned: the model was tuned anew from its base, so nothing forgotten lives on in it.
        day: that the photos are of, YYYY-MM-DD; empty for none.
    """

    model: str
    timestamp: int
    keep: tuple[str, ...] = ()
    add: tuple[NewMemory, ...] = ()
    anchors: NDArray[np.float32] | None = None
    history: Mapping[str, Any] = field(default_factory=dict)
    seen: tuple[tuple[str, int], ...] = ()
    owner: Owner | None = None
    losses: Mapping[str, float] = field(default_factory=dict)
    retuned: bool = False
    day: str = ""


@dataclass(frozen=True)
class Ledger:
    """What a store holds once.

    Attributes:
        timestamps: updates committed.
        model: SHA-256 of the model file, empty before the first update.
        config_json: the EngineConfig.
        budget_bytes: cap of the memory file.
        choice: how new memories are encoded.
        history: summaries of updates, oldest first.
        dropped: how many older summaries were dropped.
        reasons: the texts that rows name by their number.
        owner: the enrolled person.
        forgotten: (memory id, model) of forgotten photos that a model was tuned on.
        days: timestamp to the day that its photos are of, YYYY-MM-DD.
    """

    timestamps: int
    model: str
    config_json: str
    budget_bytes: int
    choice: CodecChoice
    history: tuple[Mapping[str, Any], ...] = ()
    dropped: int = 0
    reasons: tuple[str, ...] = ()
    owner: Owner | None = None
    forgotten: tuple[tuple[str, str], ...] = ()
    days: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StoreState(Ledger):
    """The workspace at a glance.

    Attributes:
        used_bytes: size of the memory file.
        memory_bytes: what memories, old and new, may take after the next commit; anchors without image make way.
        room_bytes: what is left of that for more memories.
        encrypted: whether a passphrase is needed.
    """

    used_bytes: int = 0
    memory_bytes: int = 0
    room_bytes: int = 0
    encrypted: bool = False


@dataclass(frozen=True)
class ForgetReport:
    """What ``forget`` removed of a memory, and what was computed with the photo and remains, with the remedy."""

    id: str
    removed: tuple[str, ...]
    still_derived: tuple[str, ...]


@dataclass(frozen=True)
class CompactReport:
    """How many memories got fewer bytes, how many were tried, bytes of all memories, and size of the file after."""

    transcoded: int
    examined: int
    bytes_before: int
    bytes_after: int
    file_bytes: int
