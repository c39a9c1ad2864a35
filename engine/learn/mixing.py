"""Which images a tuning step sees: a few new ones and a few to remember, a function of seed and step alone.

Earlier timestamps are remembered by stored photos and, where asked, by the previous model's own pictures at codes of
those timestamps (Shin et al., "Continual Learning with Deep Generative Replay", NeurIPS 2017; with a difference: a
personal generator's earlier photos are anchored at known W codes, so what it knew is told by half a kilobyte a photo
and rendered once before tuning). Their targets are the previous model's, so what it had forgotten is not brought back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everface.engine.errors import UsageError
from everface.engine.latents.model import Floats, Index


@dataclass(frozen=True)
class Stream:
    """Images that take turns.

    Attributes:
        first: index of the first of them among all images of the run.
        size: how many there are, at least 1.
        per_step: how many of them a step sees.
        weights: [size] how often each is seen beside the others; None for shuffled epochs, in which all are seen alike.
    """

    first: int
    size: int
    per_step: int
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.weights is None:
            return
        good = all(0 <= weight < float("inf") for weight in self.weights) and sum(self.weights) > 0
        if len(self.weights) != self.size or not good:
            expected, given = f"{self.size} finite numbers >= 0, not all 0", f"{len(self.weights)} numbers"
            raise UsageError("weights", expected=expected, found=given, remedy="leave them out for equal weights")


def mixed(streams: Sequence[Stream], seed: int, step: int) -> Index:
    """Indices of the images that a step sees, those of each stream in turn."""
    parts = []
    for number, stream in enumerate(streams):
        pick = _dealt if stream.weights is None else _drawn
        parts.append(stream.first + pick(stream, (seed, number), step))
    return np.concatenate(parts)


def _dealt(stream: Stream, key: tuple[int, int], step: int) -> Index:
    """Every epoch is a new shuffle, a function of key and epoch alone."""
    places = np.arange(step * stream.per_step, (step + 1) * stream.per_step)
    epochs = np.unique(places // stream.size)
    shuffles = {int(epoch): np.random.default_rng([*key, int(epoch)]).permutation(stream.size) for epoch in epochs}
    return np.array([shuffles[int(place // stream.size)][place % stream.size] for place in places], np.int64)


def _drawn(stream: Stream, key: tuple[int, int], step: int) -> Index:
    """By weight, a function of key and step alone; distinct where enough images have weight."""
    share = np.array(stream.weights) / sum(stream.weights or ())
    repeats = bool(np.count_nonzero(share) < stream.per_step)
    picked = np.random.default_rng([*key, step]).choice(stream.size, stream.per_step, replace=repeats, p=share)
    return np.asarray(picked, np.int64)


def replay_weights(photos: int, pictures: int, by_loss: Sequence[float] | None = None) -> tuple[float, ...] | None:
    """How often stored photos and the previous model's own pictures are seen.

    A photo tells the truth and is seen twice as often as a picture, but all photos together half of the time: few of
    them, seen too often, would be learned by heart. Pictures give way where there are more than twice as many photos.

    Args:
        photos: stored ones, first.
        pictures: distilled ones, after them.
        by_loss: weights of the photos among themselves, None for equal ones.

    Returns:
        One weight an image, None for equal turns.
    """
    if not photos or not pictures:
        return None if by_loss is None or not photos else tuple(by_loss)
    share = max(min(0.5, 2 * photos / (photos + pictures)), 1 - pictures / photos)
    own = by_loss or (1.0,) * photos
    return (*(share * weight / sum(own) for weight in own), *((1 - share) / pictures,) * pictures)


def codes_to_distil(anchors: Sequence[NDArray[np.floating]], most: int | None, rng: np.random.Generator) -> Floats:
    """Codes of all timestamps alike: random ones, dealt in turn, in an order of the timestamps drawn once.

    With a generator of the same seed, what is chosen after a further timestamp is part of what was chosen before it
    and of the new codes: codes that are dropped need never come back.

    Args:
        anchors: for each timestamp [a, d] W codes.
        most: how many at the most, None for all.
        rng: which of them.

    Returns:
        [n, d] float32, ordered by timestamp.
    """
    places: list[tuple[int, float, int, int]] = []
    for t, codes in enumerate(anchors):
        place = float(rng.random())
        places += [(turn, place, t, int(i)) for turn, i in enumerate(rng.permutation(len(codes)))]
    taken = sorted((t, i) for _, _, t, i in sorted(places)[:most])
    width = next((codes.shape[1] for codes in anchors), 0)
    return np.array([anchors[t][i] for t, i in taken], np.float32).reshape(len(taken), width)
