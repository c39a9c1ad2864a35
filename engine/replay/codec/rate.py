"""The rate model: bytes against perceptual error, measured on face crops, and the choice of quality that it allows.

``rate.json`` is made by ``tools/measure_rate.py``. Errors are MobileNetV2 distances to the crop before encoding, after
enlarging to its size where fewer pixels are stored.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from everface.engine.replay.codec import CodecChoice, codec_names


@dataclass(frozen=True)
class RatePoint:
    """One measured setting.

    Attributes:
        side: pixels a side of the crops.
        choice: codec, quality, effort and stored resolution.
        bytes: mean bytes of an image.
        error: mean MobileNetV2 distance to the crop.
        psnr: in decibels.
        encode_ms: milliseconds to encode one image, on the machine that measured.
    """

    side: int
    choice: CodecChoice
    bytes: float
    error: float
    psnr: float
    encode_ms: float


@cache
def rate_points() -> tuple[RatePoint, ...]:
    """All measured settings of codecs that work here."""
    table = json.loads((Path(__file__).parent / "rate.json").read_text())
    available = codec_names()
    return tuple(
        RatePoint(
            row["side"], CodecChoice(row["codec"], row["quality"], row["effort"], _stored(row)),
            row["bytes"], row["error"], row["psnr"], row["encode_ms"],
        )
        for row in table["rows"]
        if row["codec"] in available
    )  # fmt: skip


def _stored(row: dict[str, int]) -> int | None:
    return row["stored"] if row["stored"] < row["side"] else None


def _near(side: int) -> tuple[RatePoint, ...]:
    """Points of the measured side nearest to one asked for; their bytes are scaled by the number of pixels."""
    points = rate_points()
    nearest = min({point.side for point in points}, key=lambda one: abs(one - side))
    return tuple(point for point in points if point.side == nearest)


def _ladders(side: int) -> tuple[tuple[RatePoint, ...], ...]:
    """The points of each codec, effort and stored resolution, by ascending quality."""
    keys: dict[tuple[str, int, int | None], list[RatePoint]] = {}
    for point in _near(side):
        keys.setdefault((point.choice.name, point.choice.effort, point.choice.resolution), []).append(point)
    return tuple(tuple(sorted(one, key=lambda point: point.choice.quality)) for one in keys.values())


def _at_error(ladder: Sequence[RatePoint], side: int, error: float) -> RatePoint | None:
    """A point at an error, interpolated along a ladder; its end where that is better still; None where none is."""
    if ladder[0].error <= error:
        return _sided(ladder[0], side, ladder[0].choice.quality, ladder[0])
    for worse, better in itertools.pairwise(ladder):
        if better.error <= error <= worse.error:
            share = math.log(worse.error / error) / max(math.log(worse.error / better.error), 1e-12)
            # Rounded up, so that the error asked for is kept.
            quality = math.ceil(worse.choice.quality + share * (better.choice.quality - worse.choice.quality))
            size = worse.bytes ** (1 - share) * better.bytes**share
            between = RatePoint(side, better.choice, size, error, better.psnr, max(worse.encode_ms, better.encode_ms))
            return _sided(between, side, quality, better)
    return None


def _sided(point: RatePoint, side: int, quality: int, measured: RatePoint) -> RatePoint:
    choice = measured.choice
    stored = choice.resolution or measured.side
    resolution = max(8, round(side * stored / measured.side)) if stored < measured.side else None
    return replace(point, side=side, choice=CodecChoice(choice.name, quality, choice.effort, resolution))


def error_of(side: int, choice: CodecChoice) -> float:
    """The error that a setting has at images of a side, interpolated; that of the nearest codec where not measured."""
    near = [one for one in _ladders(side) if one[0].choice.name == choice.name]
    near = near or list(_ladders(side))
    ladder = min(
        near, key=lambda one: (one[0].choice.resolution is not None, abs(one[0].choice.effort - choice.effort))
    )
    qualities = [point.choice.quality for point in ladder]
    return float(np.interp(choice.quality, qualities, [point.error for point in ladder]))


def denser_choice(side: int, choice: CodecChoice, slack: float = 1.25) -> CodecChoice:
    """What to transcode to in idle time: the densest setting at full resolution, at about the error of ``choice``.

    Args:
        side: pixels a side of the stored images.
        choice: how they were captured.
        slack: greatest error beside that of the capture; transcoding adds its own to what is there.
    """
    error = slack * error_of(side, choice)
    found = [_at_error(ladder, side, error) for ladder in _ladders(side)]
    whole = [one for one in found if one is not None and one.choice.resolution is None]
    if not whole:
        return choice
    return min(whole, key=lambda one: one.bytes).choice
