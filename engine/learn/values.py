"""What goes into a timestep and what comes out: photos, memory, settings, step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from everface.engine.config import InvertConfig, TuneConfig
from everface.engine.errors import UsageError
from everface.engine.latents.invert import Inversion
from everface.engine.latents.model import Floats, GeneratorShape, Index
from everface.engine.learn.tuning import Tuning, TuningState
from everface.engine.progress import OnProgress, ignore_progress

__all__ = ["Checkpoint", "LearnRun", "LearnSettings", "Memory", "NewPhotos", "Step"]


@dataclass(frozen=True, eq=False)
class NewPhotos:
    """The photos of a timestamp.

    Attributes:
        images: aligned, uint8 [n, R, R, 3], at least one.
        cameras: [n, camera_dim] from where they see the face; [n, 0] in 2D.
        bytes: [n] what each would take in the memory.
        anchors: codes [n, code_dim] and losses under the base, None to search for them.
    """

    images: NDArray[np.uint8]
    cameras: NDArray[np.floating]
    bytes: Index
    anchors: Inversion | None = None

    def __post_init__(self) -> None:
        if not len(self.images) or len(self.cameras) != len(self.images) or len(self.bytes) != len(self.images):
            given = f"{len(self.images)} images, {len(self.cameras)} cameras, {len(self.bytes)} sizes"
            raise UsageError("new photos", expected="at least one, as many of each", found=given)


@dataclass(frozen=True, eq=False)
class Memory:
    """What is left of earlier timestamps, as columns of m photos, and the codes of all that were learned.

    Attributes:
        timestamp: how many timestamps were learned: the index of the new one.
        images: uint8 [m, R, R, 3], as they come out of the store.
        codes: [m, code_dim] their anchors.
        timestamps: [m] of each.
        bytes: [m] what each takes.
        spread: [m] float64, see ``everface.engine.replay.policies.spread.spread_of``.
        losses: [m] when last measured; NaN before.
        anchors: of each timestamp W codes [a, w_dim] of its photos, kept or not, to rehearse the model's own pictures.
    """

    timestamp: int
    images: NDArray[np.uint8]
    codes: Floats
    timestamps: Index
    bytes: Index
    spread: NDArray[np.float64]
    losses: Floats
    anchors: tuple[Floats, ...] = ()

    @classmethod
    def empty(cls, shape: GeneratorShape, timestamp: int = 0, anchors: tuple[Floats, ...] = ()) -> Memory:
        """One without photos."""
        side, numbers = shape.resolution, np.zeros(0, np.int64)
        images, codes = np.zeros((0, side, side, 3), np.uint8), np.zeros((0, shape.code_dim), np.float32)
        return cls(timestamp, images, codes, numbers, numbers, np.zeros(0), np.zeros(0, np.float32), anchors)

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class LearnSettings:
    """How a timestamp is learned.

    Attributes:
        policy: name of the replay policy.
        tune: steps, learning rate, mix; None where the model has learned these photos already.
        invert: search of the new photos' anchors.
        seed: of every random choice.
        room_bytes: the most bytes of kept photos, None for no such limit.
        count: the most kept photos (the paper's b), None for no such limit.
        anew: start from the base and learn everything at hand, with as many steps as all timestamps had together.
        by_loss: replay photos in proportion to their loss when last measured.
    """

    policy: str = "er-hull"
    tune: TuneConfig | None = field(default_factory=TuneConfig)
    invert: InvertConfig = field(default_factory=InvertConfig)
    seed: int = 0
    room_bytes: int | None = None
    count: int | None = None
    anew: bool = False
    by_loss: bool = False


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """How far an interrupted timestamp had come: its anchors, and its tuning if that had begun."""

    anchors: Inversion
    tuning: TuningState | None = None


@dataclass(frozen=True, eq=False)
class LearnRun:
    """How a run behaves, beside what it learns.

    Attributes:
        deadline: time.monotonic() by which to end with what was learned so far, None for none.
        resume: how far an interrupted run of the same timestamp had come.
        checkpoint: receives that now and then.
        on_progress: hears the stages ``"invert"`` and ``"tune"``.
    """

    deadline: float | None = None
    resume: Checkpoint | None = None
    checkpoint: Callable[[Checkpoint], None] | None = None
    on_progress: OnProgress = ignore_progress


@dataclass(frozen=True, eq=False)
class Step:
    """What a timestamp came to.

    Attributes:
        model: the new model file.
        anchors: codes [n, code_dim] of the new photos, and their losses under the base.
        spread: [n] of the new photos, see ``everface.engine.replay.policies.spread.spread_of``.
        before: [n] losses of the new photos under the model before.
        after: [n] under the new model, as stored.
        remembered: [m] losses of the memory's photos under the new model.
        kept_old: ascending indices of the memory's photos that stay.
        kept_new: ascending indices of the new photos that are kept.
        tuning: steps, and why they ended.
        resumed_at: step at which an interrupted tuning was taken up, 0 for none.
        anew: whether the base was tuned, on all that was at hand.
    """

    model: bytes
    anchors: Inversion
    spread: NDArray[np.float64]
    before: Floats
    after: Floats
    remembered: Floats
    kept_old: Index
    kept_new: Index
    tuning: Tuning
    resumed_at: int
    anew: bool
