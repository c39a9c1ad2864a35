"""Encoders: a photo to its W code in one pass, and their files: weights in int8 with one scale per output channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from torch import Tensor, nn

from everface.engine.errors import CheckpointError, UsageError
from everface.engine.generators.tensors import pack_tensors
from everface.engine.numerics import compute_dtype


class WEncoder(Protocol):
    """What the engine asks of an encoder; an e4e-style one for an imported base may return W+ codes."""

    def __call__(self, images: Tensor) -> Tensor:
        """Maps aligned photos [n, 3, h, h] in [-1, 1] to codes [n, w_dim] in W, or [n, num_ws, w_dim] in W+."""
        ...


@torch.no_grad()
def encode(encoder: WEncoder, photos: Tensor, batch: int = 32) -> Tensor:
    """Codes of any number of photos, in parts, so that many do not need the memory of all their activations at once.

    Args:
        encoder: from photos to W or W+.
        photos: [n, 3, h, h] in [-1, 1], n at least 1.
        batch: photos at once.
    """
    return torch.cat([encoder(part) for part in torch.split(photos, batch)])


@dataclass(frozen=True)
class EncoderConfig:
    """Shape of an encoder: side of its input in pixels, dimension of W, channels after the stem and of each stage."""

    resolution: int = 64
    w_dim: int = 512
    widths: tuple[int, ...] = (32, 64, 128, 192, 256)

    def __post_init__(self) -> None:
        if self.resolution != 4 * 2 ** (len(self.widths) - 1) or any(width % 8 for width in self.widths):
            expected = "widths that are multiples of 8, one for the stem and one for each halving down to 4 pixels"
            raise UsageError("widths", expected=expected, found=str(self.widths))


class Encoder(nn.Module):
    """Residual network (pre-activation, group norm; He et al. 2016, Wu and He 2018) from a photo to W.

    Its output is ``w_avg + w_std * network(photo)``: an untrained encoder gives the mean face.
    """

    w_avg: Tensor
    w_std: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.widths[0]
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        blocks: list[nn.Module] = []
        for width in config.widths[1:]:
            blocks += [_Residual(channels, width, stride=2), _Residual(width, width, stride=1)]
            channels = width
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.GroupNorm(8, channels)
        self.fc = nn.Linear(channels * 16, config.w_dim)
        nn.init.normal_(self.fc.weight, std=0.01)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        self.register_buffer("w_std", torch.ones(config.w_dim))

    def forward(self, images: Tensor) -> Tensor:
        """Maps aligned photos [n, 3, h, h] in [-1, 1] to W codes [n, d] in float32; other sizes than the
        encoder's are resampled first.

        Raises:
            UsageError: not such images.
        """
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
            raise UsageError("images", expected="[n, 3, h, h]", found=str(tuple(images.shape)))
        side = self.config.resolution
        if images.shape[-1] != side:
            images = F.interpolate(images, (side, side), mode="bilinear", antialias=True, align_corners=False)
        x = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, compute_dtype(), enabled=compute_dtype() != torch.float32):
            x = F.silu(self.norm(self.blocks(self.stem(x))))
        code: Tensor = self.fc(x.float().flatten(1))
        return self.w_avg + self.w_std * code


class _Residual(nn.Module):
    def __init__(self, fan_in: int, fan_out: int, *, stride: int) -> None:
        super().__init__()
        self.n1, self.c1 = nn.GroupNorm(8, fan_in), nn.Conv2d(fan_in, fan_out, 3, stride, 1)
        self.n2, self.c2 = nn.GroupNorm(8, fan_out), nn.Conv2d(fan_out, fan_out, 3, 1, 1)
        self.s = nn.Conv2d(fan_in, fan_out, 1) if fan_in != fan_out else nn.Identity()
        self.pool = nn.AvgPool2d(2) if stride == 2 else nn.Identity()
        nn.init.zeros_(self.c2.weight)
        if self.c2.bias is not None:
            nn.init.zeros_(self.c2.bias)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c2(F.silu(self.n2(self.c1(F.silu(self.n1(x))))))
        skip: Tensor = self.s(self.pool(x))
        return y + skip


_LEVELS = 127
_SCALE = ".scale"


def encoder_to_bytes(encoder: Encoder, metadata: dict[str, str]) -> bytes:
    """Writes an encoder as safetensors: convolutions and the last layer in int8, all else in float32.

    Args:
        encoder: finite.
        metadata: text entries.

    Raises:
        CheckpointError: a weight is not finite.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in encoder.state_dict().items():
        weight = value.detach().cpu().float()
        tensors[name] = weight
        if weight.ndim > 1 and torch.isfinite(weight).all():
            scale = weight.flatten(1).abs().amax(dim=1).clamp_min(1e-12) / _LEVELS
            tensors[name + _SCALE] = scale
            tensors[name] = (weight / _per_channel(scale, weight)).round().to(torch.int8)
    return pack_tensors(tensors, metadata | {"architecture": "everface-encoder"})


def _per_channel(scale: Tensor, value: Tensor) -> Tensor:
    return scale.reshape(-1, *[1] * (value.ndim - 1))


def encoder_from_bytes(data: bytes, subject: str) -> Encoder:
    """Reads what ``encoder_to_bytes`` wrote; weights may also be floats.

    Args:
        data: the whole file.
        subject: what to call it in errors.

    Raises:
        CheckpointError: not such a file.
    """
    try:
        stored = load_bytes(data)
        tensors = {name: value.float() for name, value in stored.items() if not name.endswith(_SCALE)}
        for name, value in stored.items():
            if name.endswith(_SCALE):
                weight = tensors[name.removesuffix(_SCALE)]
                weight *= _per_channel(value.float(), weight)
        widths = [tensors["stem.weight"].shape[0]]
        while (name := f"blocks.{2 * len(widths) - 2}.c1.weight") in tensors:
            widths.append(tensors[name].shape[0])
        config = EncoderConfig(2 ** (len(widths) + 1), tensors["w_avg"].shape[0], tuple(widths))
        with torch.device("meta"):
            encoder = Encoder(config)
        encoder.load_state_dict(tensors, assign=True)
    except (SafetensorError, KeyError, IndexError, RuntimeError, ValueError) as error:
        found = " ".join(str(error).split())[:200]
        raise CheckpointError(subject, expected="an encoder of `everface pretrain`", found=found) from error
    if not all(torch.isfinite(value).all() for value in tensors.values()):
        raise CheckpointError(subject, expected="finite weights", found="NaN or infinity")
    return encoder.eval().requires_grad_(False)
