"""Generative replay: the previous model's own pictures at codes of earlier timestamps, instead of stored photos.

After Shin et al., "Continual Learning with Deep Generative Replay" (NeurIPS 2017), with a difference: a personal
generator's earlier photos are anchored at known W codes, so what it knew is told by half a kilobyte a photo and
rendered once before tuning. Targets are the previous model's, so what it had already forgotten is not brought back.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from everface.engine.generators.protocol import Renderer
from everface.engine.latents.invert import chunks_of
from everface.engine.perception.losses import PreparedTargets, ReconstructionLoss
from everface.engine.tune.loop import TuningSet

__all__ = ["distilled", "evenly", "joined", "replay_of"]


def evenly(anchors: Sequence[NDArray[np.floating]], most: int | None, rng: np.random.Generator) -> NDArray[np.float32]:
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


@torch.no_grad()
def distilled(
    generator: Renderer,
    loss: ReconstructionLoss,
    codes: NDArray[np.float32],
    batch: int = 16,
) -> TuningSet | None:
    """What a model shows at codes, as images to learn; None where there are no codes.

    Args:
        generator: the model before it is tuned.
        loss: prepares the targets.
        codes: [n, d] in W, in 3D with the cameras to look from.
        batch: images rendered at a time.
    """
    if not len(codes):
        return None
    w: Tensor = torch.from_numpy(codes)
    parts = [loss.prepare(generator.render(w[chunk]).clamp(-1, 1)) for chunk in chunks_of(len(w), batch)]
    return TuningSet(w, PreparedTargets.join(*parts))


def joined(*sets: TuningSet) -> TuningSet:
    """All images of the sets in order, seen alike."""
    return TuningSet(torch.cat([one.codes for one in sets]), PreparedTargets.join(*(one.targets for one in sets)))


def replay_of(photos: TuningSet | None, pictures: TuningSet | None) -> TuningSet | None:
    """Stored photos and the model's own pictures as one replay set.

    A photo tells the truth and is seen twice as often as a picture, but all photos together half of the time: few of
    them, seen too often, would be learned by heart. Pictures give way where there are more than twice as many photos.

    Args:
        photos: stored ones, None for none.
        pictures: see :func:`distilled`, None for none.
    """
    if photos is None or pictures is None:
        return photos or pictures
    n, m = len(photos), len(pictures)
    both, share = joined(photos, pictures), max(min(0.5, 2 * n / (n + m)), 1 - m / n)
    own = photos.weights or (1.0,) * len(photos)
    weights = [share * one / sum(own) for one in own] + [(1 - share) / m] * m
    return TuningSet(both.codes, both.targets, tuple(weights))
