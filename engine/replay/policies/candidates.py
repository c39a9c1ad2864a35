"""Which subsets the paper's policies may keep: one image of each timestamp, or round-robin over the timestamps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import comb, prod

import numpy as np
from numpy.typing import NDArray

CANDIDATE_LIMIT = 5000  # the authors' number of draws

Subsets = NDArray[np.int64]


def _members(groups: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The pool indices of each timestamp, timestamps ascending."""
    return [np.flatnonzero(groups == group) for group in np.unique(groups)]


def balanced_counts(sizes: list[int], count: int) -> Iterator[tuple[int, ...]]:
    """How many images round-robin takes of each timestamp: every outcome of the shuffled order.

    Timestamps that run out are skipped, so the counts are level up to what a timestamp has; in the last round
    any of the timestamps that still have images may come first.
    """
    level = 0
    while sum(min(size, level + 1) for size in sizes) <= count and level < max(sizes):
        level += 1
    base = [min(size, level) for size in sizes]
    open_ones = [i for i, size in enumerate(sizes) if size > level]
    for extra in combinations(open_ones, count - sum(base)):
        yield tuple(base[i] + (i in extra) for i in range(len(sizes)))


def count_balanced(groups: NDArray[np.int64], count: int) -> int:
    """The number of distinct subsets that round-robin (or one image of each of ``count`` timestamps) can give."""
    sizes = [len(members) for members in _members(groups)]
    total = 0
    for counts in balanced_counts(sizes, count):
        ways = 1
        for size, take in zip(sizes, counts, strict=True):
            ways *= comb(size, take)
        total += ways
    return total


def balanced_blocks(groups: NDArray[np.int64], count: int, rows: int = 20_000) -> Iterator[Subsets]:
    """All of them in blocks of about that many rows (each row ascending), so that any number takes bounded memory."""
    members = _members(groups)
    for counts in balanced_counts([len(m) for m in members], count):
        choices = [
            m[np.array(list(combinations(range(len(m)), take)), dtype=np.int64).reshape(-1, take)]
            for m, take in zip(members, counts, strict=True)
            if take
        ]
        shape = [len(choice) for choice in choices]
        for at in range(0, prod(shape), rows):
            picks = np.unravel_index(np.arange(at, min(at + rows, prod(shape))), shape)
            parts = [choice[pick] for choice, pick in zip(choices, picks, strict=True)]
            yield np.sort(np.concatenate(parts, axis=1), axis=1)


def enumerate_balanced(groups: NDArray[np.int64], count: int) -> Subsets:
    """All of them, [c, count], each row ascending. Count them first."""
    return np.concatenate(list(balanced_blocks(groups, count)))


def draw(groups: NDArray[np.int64], count: int, draws: int, rng: np.random.Generator) -> Subsets:
    """Random subsets [draws, count] as ER-Rand takes them: repeats happen; each row ascending.

    Round-robin over shuffled timestamps without replacement; with ``count`` <= timestamps that is ``count``
    timestamps chosen uniformly and one random image of each.
    """
    names, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    turn = np.argsort(rng.random((draws, len(names))), axis=1)
    by_group = np.argsort(inverse, kind="stable")
    if count <= len(names):
        which = turn[:, :count]
        item = (rng.random((draws, count)) * sizes[which]).astype(np.int64)
        return np.sort(by_group[starts[which] + item], axis=1)
    # Sorting (timestamp + uniform) shuffles the images within each timestamp.
    order = np.argsort(inverse + rng.random((draws, len(groups))), axis=1)
    owner = inverse[by_group]
    within = np.arange(len(groups)) - starts[owner]
    place = np.empty_like(turn)
    np.put_along_axis(place, turn, np.broadcast_to(np.arange(len(names)), turn.shape), axis=1)
    keys = within * len(names) + place[:, owner]
    first = np.argpartition(keys, count - 1, axis=1)[:, :count]
    return np.sort(np.take_along_axis(order, first, axis=1), axis=1)


def _distinct(rows: Subsets, n: int) -> Subsets:
    """The distinct rows in the order in which they first appear."""
    base, count = n + 1, rows.shape[1]
    if base**count < 2**63:  # one integer a row sorts much faster than the row
        _, first = np.unique(rows @ base ** np.arange(count), return_index=True)
    else:
        _, first = np.unique(rows, axis=0, return_index=True)
    return np.asarray(rows[np.sort(first)], dtype=np.int64)


def _draw_distinct(groups: NDArray[np.int64], count: int, limit: int, rng: np.random.Generator) -> Subsets:
    """``limit`` distinct draws in the order of drawing; there must be more than ``limit``."""
    subsets = np.empty((0, count), dtype=np.int64)
    while len(subsets) < limit:
        subsets = _distinct(np.concatenate([subsets, draw(groups, count, limit, rng)]), len(groups))
    return subsets[:limit]


def _draws_reach_all(sizes: list[int], count: int, limit: int) -> bool:
    """True where ``limit`` draws of one image each of ``count`` timestamps miss no subset, but once in 10^12."""
    most = comb(len(sizes), count) * prod(sorted(sizes)[-count:])  # the rarest subset is drawn once in so many draws
    return most * (1.0 - 1.0 / most) ** limit < 1e-12


def candidates(
    groups: NDArray[np.int64], count: int, rng: np.random.Generator, limit: int = CANDIDATE_LIMIT
) -> Subsets:
    """The candidate subsets of ER-Hull, by the authors' rule.

    ``count`` <= timestamps: ``limit`` draws, of which the distinct ones are returned (the others change nothing); all
    subsets without drawing, where that is what the draws would give anyway.
    Otherwise all balanced subsets, or ``limit`` distinct round-robin ones if there are more.

    Args:
        groups: [n] the timestamp of each pool item.
        count: images to keep, 1 to n.
        rng: decides which.
        limit: most candidates.

    Returns:
        [c, count] int64, distinct rows of ascending pool indices.
    """
    sizes = [len(members) for members in _members(groups)]
    if count <= len(sizes):
        if _draws_reach_all(sizes, count, limit):
            return enumerate_balanced(groups, count)
        return _distinct(draw(groups, count, limit, rng), len(groups))
    if count_balanced(groups, count) <= limit:
        return enumerate_balanced(groups, count)
    return _draw_distinct(groups, count, limit, rng)
