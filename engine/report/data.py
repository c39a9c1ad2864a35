"""What a report shows, as plain frozen data: strings, numbers and uint8 images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError

Image = NDArray[np.uint8]
MAX_SIDE = 4096


def _require_image(name: str, image: Image) -> None:
    shape, expected = image.shape, f"a uint8 image [h, w, 3] of at most {MAX_SIDE} pixels a side"
    if image.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or not all(0 < s <= MAX_SIDE for s in shape[:2]):
        raise UsageError(name, expected=expected, found=f"{image.dtype} {shape}", remedy="convert it first")


@dataclass(frozen=True)
class Number:
    """One headline number, already formatted: ``Number("Forgetting", "0.031", "lower bound 0.094")``."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class RejectedPhoto:
    """A photo that was skipped: its name, the stable reason code, and the reason in words."""

    name: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Timestamp:
    """One update.

    Attributes:
        index: t, from 0.
        accepted: photos used.
        rejected: photos skipped, with reasons.
        minutes: wall-clock time of the update; None where unknown.
        loss_before: mean loss on the new photos under the model before the update; None where unknown.
        loss_after: the same after it.
        note: how it ended, such as ``"settled after 240 steps"``.
        title: a name or date for it; ``"Batch 1"`` and so on where empty.
    """

    index: int
    accepted: int
    rejected: tuple[RejectedPhoto, ...] = ()
    minutes: float | None = None
    loss_before: float | None = None
    loss_after: float | None = None
    note: str = ""
    title: str = ""


@dataclass(frozen=True)
class Memory:
    """One kept photo.

    Attributes:
        image: as it comes out of the store, uint8 [h, w, 3].
        timestamp: t of the batch it came from.
        bytes: what it costs in the store.
        reason: why the policy kept it, in words.
        score: the policy's number for it; None where it has none.
        id: its name in the store.
    """

    image: Image
    timestamp: int
    bytes: int
    reason: str = ""
    score: float | None = None
    id: str = ""

    def __post_init__(self) -> None:
        _require_image("memory.image", self.image)


@dataclass(frozen=True)
class Reconstruction:
    """One photo as the base and as the personal model reconstruct it; images are uint8 [h, w, 3].

    Attributes:
        photo: the photo itself.
        base: by the untuned base.
        now: by the personal model.
        title: what it is, such as ``"batch 1, held out"``.
        base_value: the metric (see ``ReportData.reconstruction_metric``) for ``base``; None where unknown.
        now_value: the same for ``now``.
    """

    photo: Image
    base: Image
    now: Image
    title: str = ""
    base_value: float | None = None
    now_value: float | None = None

    def __post_init__(self) -> None:
        for name in ("photo", "base", "now"):
            _require_image(f"reconstruction.{name}", getattr(self, name))


@dataclass(frozen=True)
class SampleGrid:
    """Generated images under one heading, such as ``"er-hull"``."""

    title: str
    images: tuple[Image, ...]

    def __post_init__(self) -> None:
        for image in self.images:
            _require_image("samples.image", image)


@dataclass(frozen=True)
class ForgettingMatrix:
    """The metric of model t on test set k for k <= t (see ``everface.engine.metrics.forgetting``).

    Attributes:
        title: the strategy, such as ``"er-hull"``.
        metric: what computed it, such as ``"MobileNetV2 distance"``.
        higher_is_better: sign of the metric.
        values: [T, T]; what lies above the diagonal is not read, a column of NaN is a test set nobody measured.
    """

    title: str
    metric: str
    higher_is_better: bool
    values: NDArray[np.float64]


@dataclass(frozen=True)
class ReportData:
    """Everything on the page. Empty parts are left out of it, so a young workspace has a short report.

    Attributes:
        title: of the page.
        subtitle: one line under it.
        summary: headline numbers.
        timeline: updates, oldest first.
        policy: name of the replay policy.
        policy_reason: how that policy chooses, in a sentence.
        memories: what is kept.
        budget_bytes: the store's budget; None where it has none.
        used_bytes: what the store takes of it.
        reconstructions: before and after.
        reconstruction_metric: name of their metric, with its direction, such as ``"MSE, lower is better"``.
        samples: one or more grids of generated images.
        matrices: one or more, coloured on one scale where metric and sign agree.
        settings: names and values.
        footer: small print, such as version and date.
    """

    title: str
    subtitle: str = ""
    summary: tuple[Number, ...] = ()
    timeline: tuple[Timestamp, ...] = ()
    policy: str = ""
    policy_reason: str = ""
    memories: tuple[Memory, ...] = ()
    budget_bytes: int | None = None
    used_bytes: int | None = None
    reconstructions: tuple[Reconstruction, ...] = ()
    reconstruction_metric: str = ""
    samples: tuple[SampleGrid, ...] = ()
    matrices: tuple[ForgettingMatrix, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    footer: str = ""
