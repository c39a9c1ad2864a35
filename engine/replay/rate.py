"""The rate model: bytes against perceptual error, measured on face crops, and the choice of quality that it allows.

``rate.json`` is made by ``tools/measure_rate.py``. Errors are MobileNetV2 distances to the crop before encoding, after
enlarging to its size where fewer pixels are stored.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from everface.engine.errors import UsageError
from everface.engine.replay.codec import CodecChoice, codec_names

__all__ = ["RatePoint", "best_choice", "equal_error_bytes", "joint_choice", "rate_points"]


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
            row["side"], CodecChoice(row["codec"], row["quality"], row["effort"], row["stored"]),
            row["bytes"], row["error"], row["psnr"], row["encode_ms"],
        )
        for row in table["rows"]
        if row["codec"] in available
    )  # fmt: skip


def _near(side: int) -> tuple[RatePoint, ...]:
    """Points of the measured side nearest to one asked for; their bytes are scaled by the number of pixels."""
    points = rate_points()
    nearest = min({point.side for point in points}, key=lambda one: abs(one - side))
    return tuple(point for point in points if point.side == nearest)


def _for_side(point: RatePoint, side: int) -> CodecChoice:
    stored = point.choice.resolution or point.side
    chosen = CodecChoice(point.choice.name, point.choice.quality, point.choice.effort, None)
    if stored < point.side:
        chosen = CodecChoice(chosen.name, chosen.quality, chosen.effort, max(8, round(side * stored / point.side)))
    return chosen


def best_choice(side: int, most_error: float, *, most_ms: float | None = None) -> CodecChoice:
    """The setting with the fewest bytes whose error is at most ``most_error``.

    Args:
        side: pixels a side of the images.
        most_error: greatest MobileNetV2 distance.
        most_ms: greatest milliseconds to encode an image, as measured; None for no limit. At capture, say 10.

    Raises:
        UsageError: no measured setting is that good.
    """
    points = _near(side)
    good = [one for one in points if one.error <= most_error and (most_ms is None or one.encode_ms <= most_ms)]
    if not good:
        least = min(point.error for point in points)
        raise UsageError("error", expected=f"at least {least:.3f}", found=f"{most_error:.3f}", remedy="allow more")
    return _for_side(min(good, key=lambda one: (one.bytes, one.error)), side)


def joint_choice(side: int, room_bytes: int, items: int, fixed_bytes: int, most_error: float) -> CodecChoice:
    """Quality and number together: more memories while there are more, then better ones.

    An error below what the model itself makes teaches it nothing, so quality is never traded below ``most_error`` for
    more memories; and once every candidate fits, what room is left goes into quality.

    Args:
        side: pixels a side of the images.
        room_bytes: bytes for all memories.
        items: how many candidates there are.
        fixed_bytes: bytes of a memory beside its image: W code, index row, seal.
        most_error: the tuned model's own reconstruction error, or a fraction of it.
    """
    each = room_bytes / max(1, items) - fixed_bytes
    points = [one for one in _near(side) if one.bytes <= each and one.error <= most_error]
    if points:
        return _for_side(min(points, key=lambda one: (one.error, one.bytes)), side)
    return best_choice(side, most_error)


def equal_error_bytes(points: Sequence[RatePoint], error: float) -> float | None:
    """Bytes at an error, by log-linear interpolation along one codec's ladder; None outside what was measured."""
    ladder = sorted(points, key=lambda one: one.error)
    for low, high in itertools.pairwise(ladder):
        if low.error <= error <= high.error:
            share = (error - low.error) / max(high.error - low.error, 1e-12)
            return float(low.bytes ** (1 - share) * high.bytes**share)
    return None
