"""A timeline from an undated album: groups of photos that look alike, as a video's frames do.

Photos are clustered on what does not tell who is in them (colour, illumination, pose, pooled perceptual features; all
photos show one person). Clusters are of equal size: the assignment of photos to centres is an optimal one under that
constraint, and photos that fit no group well are left out where there are more than are needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from everface.bench.replay_experiment.people import Person
from everface.bench.sequence import Batch
from everface.engine.errors import UsageError
from everface.engine.perception.perceptual import PerceptualDistance
from everface.engine.perception.tensors import to_tensor

Features = NDArray[np.float64]
_ROUNDS = 20
_STARTS = 8
_USED = 0.75  # of an album
_WEIGHTS = (2.0, 1.0, 0.7, 0.7)  # colours, illumination, pose, pooled perceptual features
_OPPONENT = np.array([(0.299, 0.587, 0.114), (1.0, -1.0, 0.0), (-0.5, -0.5, 1.0)])


@dataclass(frozen=True)
class Plan:
    """How many timestamps of which size.

    Attributes:
        timestamps: T.
        train: photos to learn in each (the paper: 20).
        test: photos to judge by in each (the paper: 10).
    """

    timestamps: int
    train: int
    test: int

    @property
    def size(self) -> int:
        """Photos of a timestamp."""
        return self.train + self.test


def plan_for(photos: int, most: int, train: int, test: int) -> Plan:
    """As many groups as an album has, at the most ``most``.

    A quarter of the photos is left over, so that those which look like no others need not be in any group.

    Args:
        photos: how many there are.
        most: the most timestamps.
        train: photos to learn in each.
        test: photos to judge by in each.

    Raises:
        UsageError: fewer than two timestamps.
    """
    timestamps = min(most, int(_USED * photos) // (train + test))
    if timestamps < 2:
        least = math.ceil(2 * (train + test) / _USED)
        expected = f"at least {least} usable photos for two timestamps of {train + test}"
        raise UsageError("album", expected=expected, found=str(photos), remedy="use smaller groups or a larger album")
    return Plan(timestamps, train, test)


@dataclass(frozen=True, eq=False)
class Timeline:
    """A person's photos in order of (made-up) time.

    Attributes:
        batches: the timestamps.
        rows: for each timestamp the indices of its photos in the album, those to learn first.
        within: mean distance of a photo to the mean of its own timestamp, in feature space.
        between: mean distance of a photo to the means of the other timestamps.
        chance: ``within`` of random groups of the same sizes.
    """

    batches: tuple[Batch, ...]
    rows: tuple[NDArray[np.int64], ...]
    within: float
    between: float
    chance: float


@torch.no_grad()
def appearance(person: Person, perceptual: PerceptualDistance) -> Features:
    """[n, d] features: colours and illumination, which make one occasion look like itself, before pose and others.

    Colours are those of a 4 x 4 grid and of the border, in luma and two differences. Each family is scaled to a fixed
    share of the variance, see the weights below.
    """
    images = person.images.astype(np.float64) / 255
    n, side = len(images), images.shape[1]
    half, quarter, eighth = side // 2, side // 4, side // 8
    opponent = images @ _OPPONENT.T
    cells = opponent.reshape(n, 4, quarter, 4, quarter, 3).mean((2, 4)).reshape(n, -1)
    edges = [opponent[:, :eighth], opponent[:, :, :eighth], opponent[:, :, -eighth:]]
    border = np.concatenate([edge.reshape(n, -1, 3) for edge in edges], 1)
    colours = np.concatenate([cells, border.mean(1), border.std(1)], 1)
    luma = opponent[..., 0]
    ramps = [luma[:, :, half:].mean((1, 2)) - luma[:, :, :half].mean((1, 2))]
    ramps += [luma[:, half:].mean((1, 2)) - luma[:, :half].mean((1, 2)), luma.mean((1, 2)), luma.std((1, 2))]
    pooled = [perceptual.features(to_tensor(person.images[i : i + 32])) for i in range(0, n, 32)]
    layers = [torch.cat([one[k].mean((2, 3)) for one in pooled]).numpy() for k in range(len(pooled[0]))]
    seen = np.concatenate([_standard(layer.astype(np.float64)) for layer in layers], 1)
    families = (_standard(colours), _standard(np.stack(ramps, 1)), _standard(person.pose), seen)
    return np.concatenate(
        [
            weight * _principal(part, 12) / np.sqrt(len(part[0]))
            for weight, part in zip(_WEIGHTS, families, strict=True)
        ],
        axis=1,
    )


def _standard(x: Features) -> Features:
    return np.asarray((x - x.mean(0)) / np.maximum(x.std(0), 1e-9))


def _principal(x: Features, most: int) -> Features:
    """The coordinates of most variance."""
    u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    keep = min(most, len(s))
    return np.asarray(u[:, :keep] * s[:keep])


def make_timeline(person: Person, features: Features, plan: Plan, seed: int) -> Timeline:
    """Groups, orders and splits a person's photos.

    Args:
        person: the photos.
        features: of ``appearance``.
        plan: how many timestamps, how large.
        seed: of the clustering's start, the order of the groups and the split.
    """
    rng = np.random.default_rng([seed, 3])
    tries = [_balanced(features, plan, rng) for _ in range(_STARTS)]
    groups = min(tries, key=lambda one: _squares(features, one))
    rows = tuple(rng.permutation(groups[i]) for i in rng.permutation(plan.timestamps))
    batches = tuple(
        Batch(f"t = {t}", person.images[row[: plan.train]], person.images[row[plan.train :]])
        for t, row in enumerate(rows)
    )
    means = np.stack([features[row].mean(0) for row in rows])
    apart = [
        np.linalg.norm(features[row][:, None] - np.delete(means, t, 0)[None], axis=2).mean()
        for t, row in enumerate(rows)
    ]
    shuffled = rng.permutation(np.concatenate(rows)).reshape(plan.timestamps, plan.size)
    return Timeline(batches, rows, _within(features, rows), float(np.mean(apart)), _within(features, tuple(shuffled)))


def _squares(features: Features, groups: tuple[NDArray[np.int64], ...]) -> float:
    return float(sum(np.square(features[row] - features[row].mean(0)).sum() for row in groups))


def _within(features: Features, groups: tuple[NDArray[np.int64], ...]) -> float:
    return float(np.mean([np.linalg.norm(features[row] - features[row].mean(0), axis=1).mean() for row in groups]))


def _balanced(features: Features, plan: Plan, rng: np.random.Generator) -> tuple[NDArray[np.int64], ...]:
    """k-means with groups of one size: Lloyd's rounds with an optimal assignment to places instead of centres."""
    centres = _spread_start(features, plan.timestamps, rng)
    owner = np.full(len(features), -1)
    for _ in range(_ROUNDS):
        squares = np.square(features[:, None] - centres[None]).sum(2)
        photo, place = linear_sum_assignment(np.repeat(squares, plan.size, axis=1))
        now = np.full(len(features), -1)
        now[photo] = place // plan.size
        if (now == owner).all():
            break
        owner = now
        centres = np.stack([features[owner == t].mean(0) for t in range(plan.timestamps)])
    return tuple(np.flatnonzero(owner == t).astype(np.int64) for t in range(plan.timestamps))


def _spread_start(features: Features, count: int, rng: np.random.Generator) -> Features:
    """k-means++."""
    chosen = [int(rng.integers(len(features)))]
    nearest = np.square(features - features[chosen[0]]).sum(1)
    while len(chosen) < count:
        total = nearest.sum()
        chosen.append(int(rng.choice(len(features), p=nearest / total if total > 0 else None)))
        nearest = np.minimum(nearest, np.square(features - features[chosen[-1]]).sum(1))
    return features[chosen]
