"""Settings of a training run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass

from everface.engine.errors import UsageError

__all__ = ["PretrainConfig", "check_ranges"]

_RANGES: dict[str, tuple[float, float]] = {
    "resolution": (8, 1024),
    "images": (1, 1e9),
    "batch": (1, 1024),
    "reconstruct_batch": (0, 1024),
    "learning_rate": (1e-8, 1.0),
    "discriminator_rate": (1e-8, 1.0),
    "encoder_rate": (1e-8, 1.0),
    "reconstruct_weight": (0, 1e6),
    "code_weight": (0, 1e6),
    "r1_gamma": (0, 1e6),
    "r1_every": (1, 1024),
    "mixing": (0, 1),
    "ema_images": (1, 1e9),
    "freeze_below": (0, 1024),
    "detail_weight": (0, 1e6),
    "held_out": (0, 0.5),
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
    """How a base generator is trained.

    Attributes:
        resolution: side of the pictures in pixels, a power of two; a smaller starting generator is grown to it.
        images: generated pictures shown to the discriminator until the run is done.
        batch: generated pictures an update and a process.
        reconstruct_batch: photos an update that pass through the encoder and the generator; 0 trains no encoder.
        learning_rate: Adam's for the generator (its learning rates are equalised).
        discriminator_rate, encoder_rate: Adam's for the other two.
        discriminator: ``"features"`` judges frozen MobileNetV2 features at four depths (Sauer et al., "Projected GANs
            Converge Faster", NeurIPS 2021); ``"image"`` is StyleGAN2's residual network with R1.
        augment: of what the discriminator sees: ``"translation"``, enough for tens of thousands of faces;
            ``"diffaugment"`` (Zhao et al., NeurIPS 2020: colour, translation, cutout) for fewer; or ``"none"``.
        reconstruct_weight: weight of MobileNetV2 distance plus squared error of the encoded photos.
        code_weight: weight of the encoder's error on the codes of generated pictures.
        r1_gamma, r1_every: gradient penalty of ``"image"`` and how often it is taken (Mescheder et al. 2018).
        mixing: probability of style mixing (Karras et al. 2019).
        ema_images: half-life of the averaged weights, in pictures.
        freeze_below: blocks up to this resolution, and the mapping, keep their weights; 0 trains all. Codes then mean
            what they meant, so that an encoder need not be trained again.
        detail_weight: with ``freeze_below``, weight of the squared difference between pictures averaged down to its
            resolution and what the frozen blocks draw: new blocks then add detail, and leave colours and shapes.
        encoder_only: the generator keeps its weights, nothing is judged, and an encoder is trained for it.
        held_out: part of the people (or files) that is never trained on.
        seed: of initial weights and the order of all draws.
        snapshot_seconds: time between saved states and sample grids.
    """

    resolution: int = 64
    images: int = 200_000
    batch: int = 16
    reconstruct_batch: int = 4
    learning_rate: float = 1.5e-3
    discriminator_rate: float = 1e-3
    encoder_rate: float = 1e-3
    discriminator: str = "features"
    augment: str = "translation"
    reconstruct_weight: float = 15.0
    code_weight: float = 0.3
    r1_gamma: float = 0.1
    r1_every: int = 16
    mixing: float = 0.3
    ema_images: int = 4000
    freeze_below: int = 0
    detail_weight: float = 1000.0
    encoder_only: bool = False
    held_out: float = 0.09
    seed: int = 0
    snapshot_seconds: float = 150.0

    def __post_init__(self) -> None:
        check_ranges(self, _RANGES)
        if self.resolution & (self.resolution - 1):
            raise UsageError("resolution", expected="a power of two", found=str(self.resolution))
        if self.encoder_only and not self.reconstruct_batch:
            raise UsageError("reconstruct_batch", expected="photos for the encoder", found="0", remedy="set it above 0")
        for name, known in (
            ("discriminator", ("features", "image")),
            ("augment", ("translation", "diffaugment", "none")),
        ):
            if getattr(self, name) not in known:
                raise UsageError(name, expected=" or ".join(known), found=repr(getattr(self, name)))

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)
