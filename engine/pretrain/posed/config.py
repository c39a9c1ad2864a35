"""Settings of a 3D training run."""

from __future__ import annotations

from dataclasses import dataclass, field

from everface.engine.pretrain.config import check_ranges
from everface.engine.pretrain.posed.start import Shape3D

_RANGES: dict[str, tuple[float, float]] = {
    "images": (1, 1e9),
    "batch": (2, 1024),
    "rays": (8, 512),
    "learning_rate": (1e-8, 1.0),
    "discriminator_rate": (1e-8, 1.0),
    "teacher_weight": (0, 1e6),
    "depth_weight": (0, 1e6),
    "adversarial_every": (0, 1024),
    "ema_images": (1, 1e9),
    "held_out": (0, 0.5),
    "seed": (0, 2**63 - 1),
    "snapshot_seconds": (1, 1e9),
}


@dataclass(frozen=True)
class Pretrain3DConfig:
    """How a 3D base is trained.

    Attributes:
        shape: size of the generator.
        images: renderings until the run is done.
        batch: renderings an update.
        rays: side of the rendered pictures in training; a begun run may go on with another.
        learning_rate, discriminator_rate: Adam's.
        teacher_weight: of MobileNetV2 distance plus squared error between a rendering and the 2D base's picture of
            the same code, turned to the front in W.
        depth_weight: of the squared difference between the depth channels and those of the mean head.
        adversarial_every: renderings from the photos' cameras are judged against photos in every so-many-th update;
            0 for never.
        ema_images: half-life of the averaged weights.
        held_out: part of the people (or files) that is never trained on.
        seed: of initial weights and the order of all draws.
        snapshot_seconds: time between saved states and sample grids.
    """

    shape: Shape3D = field(default_factory=Shape3D)
    images: int = 12_000
    batch: int = 4
    rays: int = 32
    learning_rate: float = 7e-4
    discriminator_rate: float = 1e-3
    teacher_weight: float = 15.0
    depth_weight: float = 4.0
    adversarial_every: int = 2
    ema_images: int = 1000
    held_out: float = 0.09
    seed: int = 0
    snapshot_seconds: float = 150.0

    def __post_init__(self) -> None:
        check_ranges(self, _RANGES)
