"""What a user may choose, as frozen dataclasses with validated ranges."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from typing import Any

from everface.engine.errors import UsageError

__all__ = ["EngineConfig", "InvertConfig", "PhotoConfig", "TuneConfig", "parse_bytes"]

MIN_BUDGET_BYTES = 16 * 1024
MAX_BUDGET_BYTES = 1024**3
_BASES = {"2d": "base128", "3d": "base3d"}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([a-z]*)")
_UNITS = {"": 1, "b": 1} | {
    f"{prefix}{suffix}": base**power
    for power, prefix in enumerate("kmgt", start=1)
    for suffix, base in (("ib", 1024), ("b", 1000))
}


def parse_bytes(text: str | int) -> int:
    """Reads a size such as ``"128KiB"``, ``"1.5 MiB"`` or ``4096`` into bytes.

    Raises:
        UsageError: not a size, or outside 16 KiB to 1 GiB.
    """
    remedy = "write it as 128KiB, 1MiB or a number of bytes"
    match = _SIZE.fullmatch(str(text).strip().lower())
    if match is None or match[2] not in _UNITS:
        raise UsageError("budget", expected="a size in bytes", found=repr(text), remedy=remedy)
    size = float(match[1]) * _UNITS[match[2]]
    if not MIN_BUDGET_BYTES <= size <= MAX_BUDGET_BYTES:
        raise UsageError("budget", expected="16KiB to 1GiB", found=repr(text), remedy="choose a size in that range")
    return int(size)


def _require(ok: bool, name: str, expected: str, found: object) -> None:
    if not ok:
        raise UsageError(name, expected=expected, found=repr(found), remedy="change the setting")


@dataclass(frozen=True)
class PhotoConfig:
    """How photos become training images.

    Attributes:
        crop_scale: FFHQ crop times this; 0.8 for the embedded base, 1.0 for generators trained on FFHQ.
        min_face_pixels: least side of the aligned crop, in pixels of the source file.
        max_yaw: largest turn of the head to either side, in degrees.
        max_pitch: largest tilt of the head up or down, in degrees.
        min_sharpness: least sharpness, unitless in [0, 1] (see photos/quality.py); ordinary photos have 0.55 to 0.75.
        max_megapixels: larger photos are refused before they are decoded.
        duplicate_distance: photos at most this many of 64 perceptual hash bits apart are the same photo.
    """

    crop_scale: float = 0.8
    min_face_pixels: float = 48.0
    max_yaw: float = 50.0
    max_pitch: float = 40.0
    min_sharpness: float = 0.46
    max_megapixels: float = 100.0
    duplicate_distance: int = 5

    def __post_init__(self) -> None:
        _require(0.5 <= self.crop_scale <= 1.5, "crop_scale", "0.5 to 1.5", self.crop_scale)
        _require(0 <= self.min_face_pixels <= 4096, "min_face_pixels", "0 to 4096", self.min_face_pixels)
        _require(0 < self.max_yaw <= 90, "max_yaw", "above 0, at most 90 degrees", self.max_yaw)
        _require(0 < self.max_pitch <= 90, "max_pitch", "above 0, at most 90 degrees", self.max_pitch)
        _require(0 <= self.min_sharpness < 1, "min_sharpness", "0 up to, not including, 1", self.min_sharpness)
        _require(0 < self.max_megapixels <= 170, "max_megapixels", "above 0, at most 170", self.max_megapixels)
        _require(0 <= self.duplicate_distance < 32, "duplicate_distance", "0 to 31", self.duplicate_distance)


@dataclass(frozen=True)
class InvertConfig:
    """Optimisation of W codes.

    Attributes:
        steps: of Adam, from the encoder's code; three times as many from the mean of W, where a base has no encoder.
            More come nearer to the photos and gain nothing: tuning has to move the generator there all the same, and
            new pictures of the person were a little less like it (docs/benchmarks.md).
        learning_rate: Adam's.
        batch: photos at a time, among which a deadline's time is shared.
        leash: weight of the mean square of how far a code has gone, in the coordinates of the search.
        layers: how many layers of a W+ code may change, the coarsest first; 0 for all.
    """

    steps: int = 12
    learning_rate: float = 0.1
    batch: int = 16
    leash: float = 0.0
    layers: int = 0

    def __post_init__(self) -> None:
        _require(1 <= self.steps <= 100_000, "invert.steps", "1 to 100000", self.steps)
        _require(0 < self.learning_rate <= 10, "invert.learning_rate", "above 0, at most 10", self.learning_rate)
        _require(1 <= self.batch <= 256, "invert.batch", "1 to 256", self.batch)
        _require(0 <= self.leash <= 1e6, "invert.leash", "0 to 1e6", self.leash)
        _require(0 <= self.layers <= 64, "invert.layers", "0 to 64", self.layers)


@dataclass(frozen=True)
class TuneConfig:
    """Tuning of the generator (MyStyle, section 3.1; the paper's replay mix).

    Attributes:
        max_steps: optimiser updates at the most.
        learning_rate: Adam's; it falls over the last quarter of the updates.
        new_per_step: images of the new batch in one update.
        replay_per_step: replayed images in one update.
        mse_weight: weight of the pixel term beside the perceptual one.
        settle_window: stop when the mean loss of this many updates has stopped falling; 0 never stops early.
        lora_rank: 0 tunes all weights; else a LoRA of this rank is tuned, and model files hold only its factors.
        lora_alpha: a LoRA's change is scaled by alpha / rank.
        lora_learning_rate: Adam's for a LoRA's factors.
        distil_codes: at most so many codes of earlier updates at which the previous model's own pictures are replayed
            beside the stored photos (see ``everface.engine.learn.mixing``); 0 for photos alone.
    """

    max_steps: int = 200
    learning_rate: float = 3e-3
    new_per_step: int = 2
    replay_per_step: int = 2
    mse_weight: float = 1.0
    settle_window: int = 100
    lora_rank: int = 0
    lora_alpha: float = 1.0
    lora_learning_rate: float = 3e-2
    distil_codes: int = 0

    def __post_init__(self) -> None:
        _require(1 <= self.max_steps <= 1_000_000, "tune.max_steps", "1 to 1000000", self.max_steps)
        _require(0 < self.learning_rate <= 1, "tune.learning_rate", "above 0, at most 1", self.learning_rate)
        _require(1 <= self.new_per_step <= 64, "tune.new_per_step", "1 to 64", self.new_per_step)
        _require(0 <= self.replay_per_step <= 64, "tune.replay_per_step", "0 to 64", self.replay_per_step)
        _require(0 <= self.mse_weight <= 1e6, "tune.mse_weight", "0 to 1e6", self.mse_weight)
        _require(0 <= self.distil_codes <= 10_000, "tune.distil_codes", "0 to 10000", self.distil_codes)
        _require(0 <= self.settle_window <= 100_000, "tune.settle_window", "0 to 100000", self.settle_window)
        _require(0 <= self.lora_rank <= 64, "tune.lora_rank", "0 to 64", self.lora_rank)
        _require(0 < self.lora_alpha <= 1000, "tune.lora_alpha", "above 0, at most 1000", self.lora_alpha)
        rate = self.lora_learning_rate
        _require(0 < rate <= 1, "tune.lora_learning_rate", "above 0, at most 1", rate)


@dataclass(frozen=True)
class EngineConfig:
    """All settings of a workspace.

    Attributes:
        base: name of an embedded base, or the path of a ``.safetensors`` generator; the dimension's own where empty.
        budget_bytes: the most that the memory file may take on disk.
        policy: name of the replay policy.
        dimension: ``"2d"`` (StyleGAN2) or ``"3d"`` (EG3D).
        seed: of every random choice.
    """

    base: str = ""
    budget_bytes: int = 1024**2
    policy: str = "er-hull"
    dimension: str = "2d"
    seed: int = 0
    photo: PhotoConfig = field(default_factory=PhotoConfig)
    invert: InvertConfig = field(default_factory=InvertConfig)
    tune: TuneConfig = field(default_factory=TuneConfig)

    def __post_init__(self) -> None:
        parse_bytes(self.budget_bytes)
        _require(self.dimension in ("2d", "3d"), "dimension", "2d or 3d", self.dimension)
        _require(0 <= self.seed < 2**63, "seed", "0 to 2^63 - 1", self.seed)
        if not self.base:
            object.__setattr__(self, "base", _BASES[self.dimension])

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> EngineConfig:
        """Reads ``to_json``; settings that this version does not know are an error, missing ones take defaults.

        Raises:
            UsageError: not such JSON.
        """
        try:
            raw: dict[str, Any] = json.loads(text)
            rooms = {"photo": PhotoConfig, "invert": InvertConfig, "tune": TuneConfig}
            for name, room in rooms.items():
                if name in raw:
                    raw[name] = room(**raw[name])
            return cls(**raw)
        except (TypeError, AttributeError, json.JSONDecodeError) as error:
            raise UsageError("configuration", expected="an EngineConfig as JSON", found=str(error)) from error
