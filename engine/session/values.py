"""What the engine's verbs return."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import NothingToDoError

if TYPE_CHECKING:
    from everface.engine.latents.degradation import Degradation
    from everface.engine.photos import Rejection
    from everface.engine.photos.align import CropQuad


@dataclass(frozen=True)
class AcceptedPhoto:
    """A photo that was learned: its file's name, no path."""

    name: str


class UpdateFailedError(NothingToDoError):
    """No photo was usable, or learning did not make the model better; the workspace is as it was.

    Attributes:
        accepted: photos that could have been learned.
        rejected: photos that were not taken, with reasons.
        before, after: mean loss of the accepted photos under the model before, and under the one that was given up.
        stopped: ``"worse"``, or why no step was made; empty where no photo was usable.
    """

    def __init__(  # noqa: PLR0913 - one parameter a field
        self, subject: str, *, expected: str, found: str, remedy: str, rejected: tuple[Rejection, ...],
        accepted: tuple[AcceptedPhoto, ...] = (), before: float | None = None, after: float | None = None,
        stopped: str = "",
    ) -> None:  # fmt: skip
        super().__init__(subject, expected=expected, found=found, remedy=remedy)
        self.accepted, self.rejected, self.stopped = accepted, rejected, stopped
        self.before, self.after = before, after

    def report(self) -> dict[str, Any]:
        """What ``update --json`` prints."""
        return {
            "accepted": self.accepted, "rejected": self.rejected, "before": self.before, "after": self.after,
            "stopped": self.stopped, "error": str(self),
        }  # fmt: skip


@dataclass(frozen=True)
class UpdateReport:
    """What one update did.

    Attributes:
        timestamp: index of the update, from 0.
        accepted: photos learned.
        rejected: photos that were not taken, with reasons.
        kept: number of memories after the update.
        evicted: ids of memories that made room.
        steps: tuning updates made.
        stopped: why tuning ended: ``"settled"``, ``"steps"`` or ``"time"``.
        resumed_at: tuning step at which an interrupted update was taken up, 0 for none.
        base, before, after: mean reconstruction loss of the new photos (MobileNetV2 distance + MSE)
            under the base, the model before and the model after.
        remembered: timestamp to mean loss after the update, over the photos of it that were at hand.
        seconds: wall-clock time.
        model: SHA-256 of the new model file.
    """

    timestamp: int
    accepted: tuple[AcceptedPhoto, ...]
    rejected: tuple[Rejection, ...]
    kept: int
    evicted: tuple[str, ...]
    steps: int
    stopped: str
    resumed_at: int
    base: float
    before: float
    after: float
    remembered: dict[int, float]
    seconds: float
    model: str


@dataclass(frozen=True)
class MemoryStatus:
    """One kept photo in ``Status``."""

    id: str
    timestamp: int
    bytes: int
    codec: str
    resolution: int
    loss: float | None
    reason: str


@dataclass(frozen=True)
class Status:
    """The workspace at a glance.

    Attributes:
        timestamps: updates committed.
        memories: what is kept.
        budget_bytes: cap of the memory file.
        used_bytes: its bytes that hold something.
        file_bytes: its size on disk.
        room_bytes: what is left for more memories.
        bytes_per_memory: mean cost of a memory, 0 with none.
        model: SHA-256 of the current model file, empty before the first update.
        policy, base, dimension: from the configuration.
        encrypted: whether a passphrase is needed.
        still_derived: ids of forgotten photos that trained the current model.
    """

    timestamps: int
    memories: tuple[MemoryStatus, ...]
    budget_bytes: int
    used_bytes: int
    file_bytes: int
    room_bytes: int
    bytes_per_memory: float
    model: str
    policy: str
    base: str
    dimension: str
    encrypted: bool
    still_derived: tuple[str, ...]


@dataclass(frozen=True)
class Effect:
    """One change of an edit, measured between the edited and the unedited picture.

    Attributes:
        name, unit: of ``everface.engine.photos.attributes.UNITS``.
        asked, measured: amounts.
    """

    name: str
    unit: str
    asked: float
    measured: float


@dataclass(frozen=True, eq=False)
class Portrait:
    """A picture of the person made from a photo.

    Attributes:
        image: uint8 [r, r, 3].
        photo: the aligned photo, uint8 [r, r, 3].
        styles: [num_ws, d] float32, the W+ code of the picture.
        loss: of the picture against the photo (MobileNetV2 distance + MSE), both degraded where asked.
        likeness: cosine of the picture's identity to the person's mean embedding.
        photo_likeness: the same of the photo.
        moved: mean distance in W of the picture's styles from the personal hull: how far the photo led the search away
            from what is known of the person.
        seconds: that it took.
        quad: where the aligned photo lies in the file's.
        degradation: what was taken to have happened to the photo.
        effects: of an edit: what was asked for and what was measured.
        limited: whether an edit ended short of what was asked for, because the picture would not be the person any
            more or the model draws no such thing.
    """

    image: NDArray[np.uint8]
    photo: NDArray[np.uint8]
    styles: NDArray[np.float32]
    loss: float
    likeness: float
    photo_likeness: float
    moved: float
    seconds: float
    quad: CropQuad
    degradation: Degradation
    effects: tuple[Effect, ...] = ()
    limited: bool = False


@dataclass(frozen=True)
class EnhanceOptions:
    """What happened to a photo.

    Attributes:
        mask: picture of the photo's shape, white where the face is visible, None for everywhere.
        factor: how many times fewer pixels across than the model's picture; measured from the file where None.
        blur: standard deviation of its Gaussian blur in pixels of the model's picture; fitted, as its noise is, where
            None.
    """

    mask: Path | None = None
    factor: float | None = None
    blur: float | None = None


@dataclass(frozen=True, eq=False)
class Views:
    """A photo's head, seen from several sides.

    Attributes:
        images: uint8 [n, r, r, 3].
        yaws: degrees that the head seems turned, positive to the right of the picture, [n].
        portrait: the personal picture from the photo's own side, with its numbers.
        seconds_per_view: of the renderer, mean, after the head was drawn once.
    """

    images: NDArray[np.uint8]
    yaws: tuple[float, ...]
    portrait: Portrait
    seconds_per_view: float
