"""Settings of a training run in 2D."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass

from everface.engine.errors import UsageError

_RANGES: dict[str, tuple[float, float]] = {
    "resolution": (8, 1024),
    "images": (1, 1e9),
    "batch": (1, 1024),
    "more_share": (0, 1),
    "learning_rate": (1e-8, 1.0),
    "identity_weight": (0, 1e6),
    "identity_batch": (0, 1024),
    "latent_weight": (0, 1e6),
    "detail_weight": (0, 1e6),
    "samples": (0, 1024),
    "sample_share": (0, 10),
    "critic_from": (0, 1e9),
    "code_weight": (0, 1e6),
    "ema_images": (1, 1e9),
    "held_out": (0, 0.5),
    "set_aside": (0, 10_000),
    "seed": (0, 2**63 - 1),
    "snapshot_seconds": (1, 1e9),
}


def check_ranges(settings: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Raises UsageError for the first named setting outside its range, NaN included."""
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        if not low <= value <= high:
            raise UsageError(name, expected=f"{low:g} to {high:g}", found=str(value), remedy="change the setting")


@dataclass(frozen=True)
class PretrainConfig:
    """How a base generator and its encoder are trained, together: photos in, photos out.

    The loss of a reconstruction is MobileNetV2 distance plus squared error, of weight 1; other weights are beside it.

    Attributes:
        resolution: side of the pictures in pixels, a power of two; a smaller starting generator is grown to it.
        images: photos shown until the run is done.
        batch: photos an update and a process.
        more_share: part of the photos that comes from the second collection, where there is one.
        learning_rate: Adam's for the synthesis network (its learning rates are equalised); the others' are in
            proportion to it.
        identity_weight, identity_batch: of the squared distance between dlib descriptors, on so many of the photos.
        latent_weight: of the sliced Wasserstein distance between random codes and the encoder's of photos.
        detail_weight: of the squared difference between a picture averaged down by two and what the blocks below the
            last drew: one file then serves both sizes. Only above 64 pixels.
        samples: pictures of random codes beside each batch, which a critic tells from photos; 0 for none.
        sample_share: how steep what it says of a sample is, beside the likeness of a reconstruction.
        critic_from: photos on which the critic only learns.
        code_weight: with ``encoder_only``, weight of the error on the codes of generated pictures.
        ema_images: half-life of the averaged weights, in pictures.
        encoder_only: the generator keeps its weights, and an encoder is trained for it.
        held_out: part of the people (or files) that is never trained on.
        set_aside: so many people with the most photos are never trained on either, and judge encoders and updates.
        seed: of initial weights and the order of all draws.
        snapshot_seconds: time between saved states and sample grids.
    """

    resolution: int = 128
    images: int = 100_000
    batch: int = 16
    more_share: float = 0.35
    learning_rate: float = 1e-3
    identity_weight: float = 0.3
    identity_batch: int = 4
    latent_weight: float = 1.0
    detail_weight: float = 10.0
    samples: int = 8
    sample_share: float = 0.3
    critic_from: int = 3000
    code_weight: float = 0.02
    ema_images: int = 3000
    encoder_only: bool = False
    held_out: float = 0.09
    set_aside: int = 24
    seed: int = 0
    snapshot_seconds: float = 180.0

    def __post_init__(self) -> None:
        check_ranges(self, _RANGES)
        if self.resolution & (self.resolution - 1):
            raise UsageError("resolution", expected="a power of two", found=str(self.resolution))

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)
